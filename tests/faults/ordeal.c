#include "tests/faults/ordeal.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>

#include "tests/test.h"

#define INSIST_USEC    (2 * WAIT_USEC) /* after which a fault that took no effect is given up */
#define LINE_MAX_BYTES 8192

/* A step that began. */
struct deed {
	uint64_t begun_usec; /* since the start */
	uint64_t effects;    /* of its kind when it began; then its own */
	bool settled;
};

struct ordeal {
	struct scene scene;
	const struct schedule *schedule;
	struct ordeal_result *result;
	uint64_t start_usec;
	size_t begun; /* steps */
	struct deed deeds[FAULTS_MAX];
	uint64_t effects[FAULT_TYPES]; /* of the kinds that the interposer does not count */
};

/* What took effect. */

static uint64_t directory_resets(const struct scene *s)
{
	struct network_counts counts;

	network_counts(s->network, &counts);
	return counts.resets;
}

static uint64_t effects_of(const struct ordeal *o, enum fault_type t)
{
	static const enum control_effect effects[FAULT_TYPES] = {
		[FAULT_CUT_PIPES] = EFFECT_CUT_PIPE,
		[FAULT_DISK_FULL] = EFFECT_DISK_FULL,
		[FAULT_WRITE_ERROR] = EFFECT_WRITE_ERROR,
		[FAULT_SYNC_ERROR] = EFFECT_SYNC_ERROR,
		[FAULT_TORN_WRITE] = EFFECT_TORN_WRITE,
		[FAULT_SLOW_DISK] = EFFECT_SLOW_SYNC,
		[FAULT_CLOCK] = EFFECT_CLOCK,
	};

	switch (t) {
	case FAULT_CUT_PIPES:
	case FAULT_DISK_FULL:
	case FAULT_WRITE_ERROR:
	case FAULT_SYNC_ERROR:
	case FAULT_TORN_WRITE:
	case FAULT_SLOW_DISK:
	case FAULT_CLOCK:
		return control_effects(o->scene.control, effects[t]);
	case FAULT_DIRECTORY_DOWN:
		return directory_resets(&o->scene);
	default:
		return o->effects[t];
	}
}

/* What a step has done so far is what it has done. */
static void settle(struct ordeal *o, size_t i)
{
	struct deed *d = &o->deeds[i];
	enum fault_type t = o->schedule->steps[i].type;

	if (d->settled)
		return;
	d->settled = true;
	d->effects = effects_of(o, t) - d->effects;
	o->result->faults[t].hit += d->effects > 0;
	o->result->faults[t].effects += d->effects;
}

/* A fault that is over at once may wait for what it will meet, until the next of its kind. */
static void settle_kind(struct ordeal *o, enum fault_type t)
{
	for (size_t i = 0; i < o->begun; i++)
		if (t == FAULT_TYPES || o->schedule->steps[i].type == t)
			settle(o, i);
}

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
static void heal(struct ordeal *o)
{
	settle_kind(o, FAULT_TYPES);
	scene_heal(&o->scene);
}

static void crash(struct ordeal *o)
{
	heal(o);
	o->effects[FAULT_CRASH] += scene_crash(&o->scene);
	group_start(o->scene.group);
}

/* Syncs take their time, so that something is on its way to the disk. */
static void cut_power(struct ordeal *o, uint64_t sync_usec)
{
	struct scene *s = &o->scene;

	heal(o);
	s->control->stages[CONTROL_STORE].sync_usec = sync_usec;
	scene_pass(s, 2 * sync_usec);
	scene_crash(s);
	s->control->stages[CONTROL_STORE].sync_usec = 0;
	o->effects[FAULT_POWER_CUT] += control_cut_power(s->control);
	group_start(s->group);
}

static void restart(struct ordeal *o)
{
	heal(o);
	group_stop(o->scene.group);
	group_start(o->scene.group);
	o->effects[FAULT_RESTART]++;
}

static void disturb_host(struct ordeal *o, const struct fault_step *f)
{
	struct network *n = o->scene.network;
	uint32_t host = f->host % SCENE_HOSTS;

	o->effects[f->type] += network_subscribers(n, host);
	if (f->type == FAULT_HOST_VANISHES)
		network_misbehave(n, host, VANISH);
	else
		network_cut(n, host);
}

static void begin_step(struct ordeal *o, const struct fault_step *f)
{
	const struct directory_manners down = {.down = true};
	struct scene *s = &o->scene;

	switch (f->type) {
	case FAULT_KILL:
		o->effects[f->type] += scene_signal(s, f->members, SIGKILL);
		break;
	case FAULT_TERM:
		o->effects[f->type] += scene_signal(s, f->members, SIGTERM);
		break;
	case FAULT_STOP:
		scene_signal(s, f->members, SIGSTOP);
		break;
	case FAULT_CRASH:
		crash(o);
		break;
	case FAULT_POWER_CUT:
		cut_power(o, (uint64_t)f->amount);
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
		scene_tear(s, (uint64_t)f->amount);
		break;
	case FAULT_CLOCK:
		s->control->clock_usec = f->amount;
		break;
	case FAULT_DIRECTORY_DOWN:
		network_directory(s->network, &down);
		break;
	case FAULT_HOST_VANISHES:
	case FAULT_HOST_CUTS:
		disturb_host(o, f);
		break;
	case FAULT_TYPES:
		break;
	}
}

/* Standing still is seen while it lasts. */
static void note_stopped(struct ordeal *o, const struct fault_step *f)
{
	if (f->type == FAULT_STOP)
		o->effects[f->type] += scene_stopped(&o->scene, f->members);
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

/* What befalls somebody at once meets nobody while a stage waits for its next start, or a host for
 * its subscriber: it is done again when they may be back. */
static void aim_again(struct ordeal *o, const struct fault_step *f)
{
	switch (f->type) {
	case FAULT_HOST_VANISHES:
		/* Nobody comes to a host that is away. */
		end_step(o, f);
		if (network_subscribers(o->scene.network, f->host % SCENE_HOSTS) > 0)
			begin_step(o, f);
		break;
	case FAULT_KILL:
	case FAULT_TERM:
	case FAULT_STOP:
	case FAULT_HOST_CUTS:
		begin_step(o, f);
		break;
	default:
		break;
	}
}

static bool has_met_nobody(const struct ordeal *o, size_t i)
{
	return !o->deeds[i].settled &&
	       effects_of(o, o->schedule->steps[i].type) == o->deeds[i].effects;
}

static void insist(struct ordeal *o, size_t i)
{
	const struct fault_step *f = &o->schedule->steps[i];
	uint64_t until = loop_now_usec(o->scene.loop) + INSIST_USEC;

	note_stopped(o, f);
	while (o->schedule->insists && has_met_nobody(o, i) &&
	       loop_now_usec(o->scene.loop) < until) {
		scene_pass(&o->scene, 10 * USEC_PER_MSEC);
		note_stopped(o, f);
		if (has_met_nobody(o, i))
			aim_again(o, f);
	}
}

/* Notes first what its kind has done so far. */
static void begin(struct ordeal *o, size_t i)
{
	const struct fault_step *f = &o->schedule->steps[i];

	settle_kind(o, f->type);
	o->deeds[i].begun_usec = loop_now_usec(o->scene.loop) - o->start_usec;
	o->deeds[i].effects = effects_of(o, f->type);
	o->result->faults[f->type].planned++;
	begin_step(o, f);
	o->begun = i + 1;
	if (f->for_usec == 0)
		insist(o, i);
}

static void end(struct ordeal *o, size_t i)
{
	insist(o, i);
	settle(o, i);
	end_step(o, &o->schedule->steps[i]);
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

/* Beginnings and ends, in the order of the schedule. A step that takes time itself (a new start)
 * delays those after it; each lasts as long as it should from when it began. */
static void play_schedule(struct ordeal *o)
{
	const struct schedule *s = o->schedule;
	uint64_t ends[FAULTS_MAX]; /* UINT64_MAX: it is over */
	size_t next = 0;

	for (;;) {
		const struct fault_step *step = &s->steps[next];
		size_t first = find_first_end(ends, next);

		if (first < next && (next == s->count || ends[first] <= step->at_usec)) {
			pass_until(o, o->deeds[first].begun_usec + s->steps[first].for_usec);
			end(o, first);
			ends[first] = UINT64_MAX;
		} else if (next < s->count) {
			pass_until(o, step->at_usec);
			begin(o, next);
			ends[next++] = step->for_usec > 0 ? step->at_usec + step->for_usec
							  : UINT64_MAX;
		} else {
			break;
		}
	}
	pass_until(o, s->usec);
	settle_kind(o, FAULT_TYPES);
}

/* What came of it. */

/* Who the step is for, as "store,validate-0", "disk of store" or "host 3". */
static void name_targets(struct ordeal *o, const struct fault_step *f, struct buf *line)
{
	static const char *const stages[CONTROL_STAGES] = {
		[CONTROL_INGEST] = "ingest",     [CONTROL_RESOLVE] = "resolve",
		[CONTROL_VALIDATE] = "validate", [CONTROL_STORE] = "store",
		[CONTROL_FANOUT] = "fanout",
	};
	bool by_stage = f->is_disk || f->type == FAULT_CUT_PIPES;
	const char *name;

	if (f->type == FAULT_HOST_VANISHES || f->type == FAULT_HOST_CUTS)
		buf_printf(line, " host %u", f->host % SCENE_HOSTS);
	if (!by_stage && f->type != FAULT_KILL && f->type != FAULT_TERM && f->type != FAULT_STOP)
		return;
	for (unsigned i = 0; i < (by_stage ? CONTROL_STAGES : ordeal_members(&o->scene.settings));
	     i++) {
		name = by_stage ? stages[i] : group_member_name(o->scene.group, i);
		if (f->members >> i & 1)
			buf_printf(line, " %s", name);
	}
}

/* "at 3.1 s kill store: 1; ...": each with how often it took effect. */
static void print_deeds(struct ordeal *o)
{
	struct buf line;

	buf_init(&line, LINE_MAX_BYTES);
	for (size_t i = 0; i < o->begun; i++) {
		const struct fault_step *f = &o->schedule->steps[i];

		buf_printf(&line, "%s%.1fs %s", i ? "; " : "", (double)f->at_usec / 1e6,
			   fault_type_name(f->type));
		name_targets(o, f, &line);
		if (f->amount != 0)
			buf_printf(&line, " by %" PRId64, f->amount);
		if (f->for_usec > 0)
			buf_printf(&line, " for %.1fs", (double)f->for_usec / 1e6);
		buf_printf(&line, " = %" PRIu64, o->deeds[i].effects);
	}
	printf("#   did: %.*s\n", (int)line.len, (const char *)line.ptr);
	buf_release(&line);
}

static void print_failure(struct ordeal *o)
{
	printf("# schedule of seed %" PRIu64 ":\n", o->schedule->seed);
	schedule_print(o->schedule, stdout);
	for (enum scene_client i = 0; i < SCENE_CLIENTS; i++)
		if (o->scene.clients[i].loop)
			printf("# consumer %s: last seq %" PRIu64 ", %u connections\n",
			       scene_client_name(i), client_last_seq(&o->scene.clients[i]),
			       o->scene.clients[i].connections);
	test_fail(__FILE__, __LINE__, "the run with seed %" PRIu64, o->schedule->seed);
}

static void note_result(struct ordeal *o)
{
	struct scene *s = &o->scene;
	struct ordeal_result *r = o->result;

	r->sent = player_sent(s->player);
	r->logged = judge_reader_count(s->clients[SCENE_REPLAYS].judged);
	r->silence_usec = s->clients[SCENE_STAYS].silence_usec;
	for (size_t i = 0; i < SCENE_CLIENTS; i++) {
		if (!s->clients[i].loop)
			continue;
		r->received[i] = judge_reader_count(s->clients[i].judged);
		r->connections[i] = s->clients[i].connections;
	}
	memcpy(r->signals, s->signals, sizeof(r->signals));
	r->signals[CONTROL_STORE][SCENE_KILL] += (unsigned)control_effects(s->control,
									   EFFECT_TORN_WRITE);
	judge_report(s->judge, &r->report);
}

static uint64_t received_by_all(const struct ordeal_result *r)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < SCENE_CLIENTS; i++)
		sum += r->received[i];
	return sum;
}

static unsigned signals_in_all(const struct ordeal_result *r, enum scene_signal kind)
{
	unsigned sum = 0;

	for (size_t i = 0; i < CONTROL_STAGES; i++)
		sum += r->signals[i][kind];
	return sum;
}

static void print_run(struct ordeal *o, const char *what)
{
	const struct ordeal_result *r = o->result;

	printf("# %s seed=%" PRIu64 ": %s, seconds=%.1f sent=%" PRIu64
	       " per_second=%.0f logged=%" PRIu64 " received=%" PRIu64
	       " sigkill=%u sigterm=%u sigstop=%u missing=%" PRIu64 " repeated=%" PRIu64
	       " longest_silence=%.1fs rest_after=%.1fs\n",
	       what, o->schedule->seed, r->ok ? "ok" : "FAILED", (double)r->usec / 1e6, r->sent,
	       (double)r->sent_end * 1e6 / (double)r->usec, r->logged, received_by_all(r),
	       signals_in_all(r, SCENE_KILL), signals_in_all(r, SCENE_TERM),
	       signals_in_all(r, SCENE_STOP), r->report.missing, r->report.repeated,
	       (double)r->silence_usec / 1e6, (double)r->end_usec / 1e6);
	print_deeds(o);
	fflush(stdout);
}

unsigned ordeal_members(const struct scene_settings *s)
{
	return 3 + s->lanes + s->replicas;
}

bool ordeal_run(const struct scene_settings *settings, const struct schedule *schedule,
		const char *what, struct ordeal_result *ret)
{
	struct ordeal o = {.schedule = schedule, .result = ret};

	*ret = (struct ordeal_result){0};
	scene_open(&o.scene, settings);
	o.start_usec = loop_now_usec(o.scene.loop);
	player_start(o.scene.player);
	play_schedule(&o);
	ret->usec = loop_now_usec(o.scene.loop) - o.start_usec;
	ret->sent_end = player_sent(o.scene.player);
	ret->ok = scene_finish(&o.scene, &ret->end_usec);
	note_result(&o);
	print_run(&o, what);
	if (!ret->ok)
		print_failure(&o);
	scene_close(&o.scene);
	return ret->ok;
}

static void add_report(struct judge_report *sum, const struct judge_report *r)
{
	sum->due += r->due;
	sum->received += r->received;
	sum->missing += r->missing;
	sum->repeated += r->repeated;
	sum->reordered += r->reordered;
	sum->forged += r->forged;
	sum->let_through += r->let_through;
	sum->gaps += r->gaps;
	sum->two_contents += r->two_contents;
}

void ordeal_add(struct ordeal_result *sum, const struct ordeal_result *r)
{
	sum->usec += r->usec;
	sum->sent += r->sent;
	sum->sent_end += r->sent_end;
	sum->logged += r->logged;
	for (size_t i = 0; i < SCENE_CLIENTS; i++) {
		sum->received[i] += r->received[i];
		sum->connections[i] += r->connections[i];
	}
	for (size_t i = 0; i < CONTROL_STAGES; i++)
		for (size_t j = 0; j < SCENE_SIGNALS; j++)
			sum->signals[i][j] += r->signals[i][j];
	for (size_t i = 0; i < FAULT_TYPES; i++) {
		sum->faults[i].planned += r->faults[i].planned;
		sum->faults[i].hit += r->faults[i].hit;
		sum->faults[i].effects += r->faults[i].effects;
	}
	add_report(&sum->report, &r->report);
}

static const char *unit_of(enum fault_type t)
{
	static const char *const units[FAULT_TYPES] = {
		[FAULT_KILL] = "processes killed",
		[FAULT_TERM] = "processes asked to end",
		[FAULT_STOP] = "processes seen stopped",
		[FAULT_CRASH] = "processes killed",
		[FAULT_RESTART] = "restarts",
		[FAULT_POWER_CUT] = "bytes lost",
		[FAULT_CUT_PIPES] = "connections cut",
		[FAULT_DISK_FULL] = "writes failed",
		[FAULT_WRITE_ERROR] = "writes failed",
		[FAULT_SYNC_ERROR] = "syncs failed",
		[FAULT_TORN_WRITE] = "writes torn",
		[FAULT_SLOW_DISK] = "syncs delayed",
		[FAULT_CLOCK] = "wrong times told",
		[FAULT_DIRECTORY_DOWN] = "connections refused",
		[FAULT_HOST_VANISHES] = "subscriptions lost",
		[FAULT_HOST_CUTS] = "subscriptions cut",
	};

	return units[t];
}

void ordeal_print(const struct ordeal_result *r)
{
	static const char *const stages[CONTROL_STAGES] = {
		[CONTROL_INGEST] = "ingest",     [CONTROL_RESOLVE] = "resolve",
		[CONTROL_VALIDATE] = "validate", [CONTROL_STORE] = "store",
		[CONTROL_FANOUT] = "fanout",
	};

	for (enum fault_type t = 0; t < FAULT_TYPES; t++)
		printf("# fault %-14s planned=%-4u hit=%-4u effects=%" PRIu64 " (%s)\n",
		       fault_type_name(t), r->faults[t].planned, r->faults[t].hit,
		       r->faults[t].effects, unit_of(t));
	for (size_t i = 0; i < CONTROL_STAGES; i++)
		printf("# signals %-8s SIGKILL=%u SIGTERM=%u SIGSTOP=%u\n", stages[i],
		       r->signals[i][SCENE_KILL], r->signals[i][SCENE_TERM],
		       r->signals[i][SCENE_STOP]);
	for (enum scene_client i = 0; i < SCENE_CLIENTS; i++)
		printf("# consumer %-11s received=%" PRIu64 " connections=%" PRIu64 "\n",
		       scene_client_name(i), r->received[i], r->connections[i]);
	printf("# events sent=%" PRIu64 " due=%" PRIu64 " came=%" PRIu64 " logged=%" PRIu64
	       " received_by_all_consumers=%" PRIu64 "\n",
	       r->sent, r->report.due, r->report.received, r->logged, received_by_all(r));
	printf("# lost=%" PRIu64 " repeated=%" PRIu64 " reordered=%" PRIu64 " forged=%" PRIu64
	       " let_through=%" PRIu64 " gaps=%" PRIu64 " two_contents=%" PRIu64 "\n",
	       r->report.missing, r->report.repeated, r->report.reordered, r->report.forged,
	       r->report.let_through, r->report.gaps, r->report.two_contents);
}
