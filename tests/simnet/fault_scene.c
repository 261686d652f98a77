#include "tests/simnet/fault_scene.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/loop.h"
#include "tests/lib/frame.h"

#define FRAME_MAX MIB(8)
#define BASE_PATH "com.example.record/base"
#define BINARY    0x82

void fault_scene_make_repo(const struct world *w, uint32_t account, struct repo *ret)
{
	char did[LIMIT_DID + 1];
	struct world_identity i;

	world_identity(w, account, &i);
	repo_init(ret, world_curve(w, account), "");
	world_did(w, account, did);
	assert(strlen(did) < sizeof(ret->did));
	memcpy(ret->did, did, strlen(did) + 1);
	world_key(w, account, i.key, &ret->key);
}

void fault_scene_init(struct fault_scene *s, struct network *network, struct world *world,
		      struct judge *judge, uint32_t host, uint32_t account, uint32_t newcomer)
{
	*s = (struct fault_scene){
		.network = network,
		.world = world,
		.judge = judge,
		.host = host,
		.account = account,
		.newcomer = newcomer,
	};
	fault_scene_make_repo(world, account, &s->repo);
}

void fault_scene_release(struct fault_scene *s)
{
	for (size_t i = 0; i < s->frame_count; i++)
		buf_release(&s->frames[i]);
	free(s->frames);
	repo_release(&s->repo);
	*s = (struct fault_scene){0};
}

struct buf *fault_scene_frame(struct fault_scene *s)
{
	s->frames = xrealloc(s->frames, (s->frame_count + 1) * sizeof(*s->frames));
	buf_init(&s->frames[s->frame_count], FRAME_MAX);
	return &s->frames[s->frame_count++];
}

void fault_scene_send(struct fault_scene *s, enum corpus_kind kind, uint32_t account, uint64_t seq,
		      struct span frame, enum verdict v)
{
	struct corpus_record r = {
		.type = CORPUS_EVENT,
		.account = account,
		.kind = kind,
		.host = s->host,
		.seq = seq,
		.verdict = v,
		.frame = frame,
	};
	struct span before, after;

	frame_split(frame, &before, &after);
	r.seq_offset = (uint32_t)before.len;
	r.seq_size = (uint32_t)(frame.len - before.len - after.len);
	/* Without a number it is nothing that a judge knows. */
	if (s->judge && before.len > 0)
		judge_sent(s->judge, &r);
	network_send(s->network, &r);
}

void fault_scene_send_raw(struct fault_scene *s, struct span message)
{
	network_send_raw(s->network, s->host, BINARY, message);
}

void fault_scene_stage(struct fault_scene *s)
{
	char path[64];

	s->spoken++;
	snprintf(path, sizeof(path), "com.example.record/%06u", s->spoken);
	repo_put_number(&s->repo, path, s->spoken);
	repo_put_number(&s->repo, BASE_PATH, UINT32_MAX + (uint64_t)s->spoken);
}

void fault_scene_speak(struct fault_scene *s)
{
	struct buf *frame = fault_scene_frame(s);
	struct repo_commit c;

	fault_scene_stage(s);
	repo_commit(&s->repo, clock_usec(), &c);
	frame_put_commit(frame, ++s->seq, &c);
	repo_commit_release(&c);
	fault_scene_send(s, CORPUS_COMMIT, s->account, s->seq, buf_span(frame), VERDICT_ACCEPTED);
}
