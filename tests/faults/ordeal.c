#include "tests/faults/ordeal.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>

#include "tests/test.h"

struct ordeal {
	struct scene scene;
	const struct schedule *schedule;
	struct ordeal_result *result;
	uint64_t start_usec;
};

/* Faults. */

static void set_write_error(struct ordeal *o, unsigned disks, int error)
{
	for (unsigned i = 0; i < CONTROL_STAGES; i++)
		if (disks >> i & 1)
			o->scene.control->stages[i].write_error = error;
}

static void set_sync(struct ordeal *o, unsigned disks, int error, uint64_t usec)
{
	for (unsigned i = 0; i < CONTROL_STAGES; i++)
		if (disks >> i & 1) {
			o->scene.control->stages[i].sync_error = error;
			o->scene.control->stages[i].sync_usec = usec;
		}
}

static void cut_pipes(struct ordeal *o, unsigned stages)
{
	for (unsigned i = 0; i < CONTROL_STAGES; i++)
		if (stages >> i & 1)
			o->scene.control->stages[i].cuts++;
}

/* It ends what the processes suffer from too, so that new ones can begin. */
static void crash(struct ordeal *o, bool with_disk)
{
	struct group_test *g = o->scene.group;

	scene_heal(&o->scene);
	for (unsigned i = 0; group_member_name(g, i); i++)
		o->result->signals++;
	group_crash(g);
	if (with_disk)
		o->result->lost_bytes += control_cut_power(o->scene.control);
	group_start(g);
}

static void restart(struct ordeal *o)
{
	scene_heal(&o->scene);
	group_stop(o->scene.group);
	group_start(o->scene.group);
}

static void begin_step(struct ordeal *o, const struct fault_step *f)
{
	const struct directory_manners down = {.down = true};
	struct scene *s = &o->scene;

	o->result->steps++;
	switch (f->type) {
	case FAULT_KILL:
		o->result->signals += scene_signal(s, f->members, SIGKILL);
		break;
	case FAULT_TERM:
		o->result->signals += scene_signal(s, f->members, SIGTERM);
		break;
	case FAULT_STOP:
		o->result->signals += scene_signal(s, f->members, SIGSTOP);
		break;
	case FAULT_CRASH:
	case FAULT_POWER_CUT:
		crash(o, f->type == FAULT_POWER_CUT);
		break;
	case FAULT_RESTART:
		restart(o);
		break;
	case FAULT_CUT_PIPES:
		cut_pipes(o, f->members);
		break;
	case FAULT_DISK_FULL:
		set_write_error(o, f->members, ENOSPC);
		break;
	case FAULT_WRITE_ERROR:
		set_write_error(o, f->members, EIO);
		break;
	case FAULT_SYNC_ERROR:
		set_sync(o, f->members, EIO, 0);
		break;
	case FAULT_SLOW_DISK:
		set_sync(o, f->members, 0, (uint64_t)f->amount);
		break;
	case FAULT_TORN_WRITE:
		s->control->stages[CONTROL_STORE].torn_bytes = (uint64_t)f->amount;
		break;
	case FAULT_CLOCK:
		s->control->clock_usec = f->amount;
		break;
	case FAULT_DIRECTORY_DOWN:
		network_directory(s->network, &down);
		break;
	case FAULT_HOST_VANISHES:
		network_misbehave(s->network, f->host % SCENE_HOSTS, VANISH);
		break;
	case FAULT_HOST_CUTS:
		network_cut(s->network, f->host % SCENE_HOSTS);
		break;
	case FAULT_TYPES:
		break;
	}
}

static void end_step(struct ordeal *o, const struct fault_step *f)
{
	const struct directory_manners well = {0};
	struct scene *s = &o->scene;

	switch (f->type) {
	case FAULT_STOP:
		scene_signal(s, f->members, SIGCONT);
		break;
	case FAULT_DISK_FULL:
	case FAULT_WRITE_ERROR:
		set_write_error(o, f->members, 0);
		break;
	case FAULT_SYNC_ERROR:
	case FAULT_SLOW_DISK:
		set_sync(o, f->members, 0, 0);
		break;
	case FAULT_CLOCK:
		s->control->clock_usec = 0;
		break;
	case FAULT_DIRECTORY_DOWN:
		network_directory(s->network, &well);
		break;
	case FAULT_HOST_VANISHES:
		network_misbehave(s->network, f->host % SCENE_HOSTS, BEHAVE);
		break;
	default:
		break;
	}
}

/* The run. */

/* Everything goes on until that time since the start. */
static void pass_until(struct ordeal *o, uint64_t usec)
{
	uint64_t now = loop_now_usec(o->scene.loop), at = o->start_usec + usec;

	if (at > now)
		scene_pass(&o->scene, at - now);
}

/* The step that began and ends first; count: none. */
static size_t find_first_end(const uint64_t *ends, size_t count)
{
	size_t first = count;

	for (size_t i = 0; i < count; i++)
		if (ends[i] != UINT64_MAX && (first == count || ends[i] < ends[first]))
			first = i;
	return first;
}

/* Beginnings and ends, in the order of their times. A step that takes time itself (a new start)
 * delays those after it. */
static void play_schedule(struct ordeal *o)
{
	const struct schedule *s = o->schedule;
	uint64_t ends[FAULTS_MAX]; /* UINT64_MAX: it is over */
	size_t next = 0;

	for (;;) {
		const struct fault_step *step = &s->steps[next];
		size_t first = find_first_end(ends, next);

		if (first < next && (next == s->count || ends[first] <= step->at_usec)) {
			pass_until(o, ends[first]);
			end_step(o, &s->steps[first]);
			ends[first] = UINT64_MAX;
		} else if (next < s->count) {
			pass_until(o, step->at_usec);
			begin_step(o, step);
			ends[next++] = step->for_usec > 0 ? step->at_usec + step->for_usec
							  : UINT64_MAX;
		} else {
			break;
		}
	}
	pass_until(o, s->usec);
}

static void note_result(struct ordeal *o)
{
	struct scene *s = &o->scene;

	o->result->events = player_sent(s->player);
	o->result->logged = judge_reader_count(s->clients[SCENE_REPLAYS].judged);
	o->result->silence_usec = s->clients[SCENE_STAYS].silence_usec;
	if (o->result->ok)
		return;
	printf("# schedule of seed %" PRIu64 ":\n", o->schedule->seed);
	schedule_print(o->schedule, stdout);
	for (size_t i = 0; i < SCENE_CLIENTS; i++)
		printf("# consumer %zu: last seq %" PRIu64 ", %u connections\n", i,
		       client_last_seq(&s->clients[i]), s->clients[i].connections);
	test_fail(__FILE__, __LINE__, "the run with seed %" PRIu64, o->schedule->seed);
}

unsigned ordeal_members(const struct scene_settings *s)
{
	return 3 + s->lanes + s->replicas;
}

bool ordeal_run(const struct scene_settings *settings, const struct schedule *schedule,
		struct ordeal_result *ret)
{
	struct ordeal o = {.schedule = schedule, .result = ret};

	*ret = (struct ordeal_result){0};
	scene_open(&o.scene, settings);
	o.start_usec = loop_now_usec(o.scene.loop);
	player_start(o.scene.player);
	play_schedule(&o);
	ret->ok = scene_finish(&o.scene, &ret->end_usec);
	note_result(&o);
	scene_close(&o.scene);
	return ret->ok;
}
