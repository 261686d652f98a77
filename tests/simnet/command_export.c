#include <errno.h>
#include <stdio.h>

#include "tests/simnet/command.h"

/* What is known of an account outside: nothing, or its document as it stands. */
struct export
{
	FILE *file;
	struct world *world;
	bool *is_told; /* by account */
	struct buf text;
};

/* One section: its type, its length (u32, little-endian) and its bytes. */
static bool put_section(struct export *e, char type, struct span s)
{
	struct buf head;
	bool ok;

	buf_init(&head, 8);
	buf_put_u8(&head, (uint8_t)type);
	buf_put_u32(&head, (uint32_t)s.len);
	ok = fwrite(head.ptr, head.len, 1, e->file) == 1 &&
	     (s.len == 0 || fwrite(s.ptr, s.len, 1, e->file) == 1);
	buf_release(&head);
	return ok;
}

static bool put_document(struct export *e, uint32_t account)
{
	e->is_told[account] = true;
	buf_clear(&e->text);
	world_document(e->world, account, &e->text);
	return put_section(e, 'D', buf_span(&e->text));
}

static bool put_record(struct export *e, const struct corpus_record *r)
{
	if (r->type == CORPUS_IDENTITY) {
		world_change(e->world, r->account, &r->identity);
		e->is_told[r->account] = false;
		return true;
	}
	if (r->type != CORPUS_EVENT)
		return true;
	return (e->is_told[r->account] || put_document(e, r->account)) &&
	       put_section(e, r->verdict == VERDICT_ACCEPTED ? 'F' : 'R', r->frame);
}

static int export_all(struct export *e, struct corpus *c)
{
	struct corpus_record r;
	int more;

	while ((more = corpus_next(c, &r)) > 0)
		if (!put_record(e, &r))
			return -errno;
	return more;
}

int command_export(int argc, char **argv)
{
	struct export e = {0};
	struct corpus c;
	int r;

	if (argc != 3)
		return EXIT_USAGE;
	r = corpus_open(argv[1], &c);
	if (r < 0) {
		fprintf(stderr, "%s: %s\n", argv[1], strerror(-r));
		return 1;
	}
	e.file = fopen(argv[2], "we");
	if (e.file) {
		e.world = world_new(&c.settings);
		e.is_told = xcalloc(c.settings.accounts, sizeof(bool));
		buf_init(&e.text, LIMIT_DID_DOCUMENT);
		r = export_all(&e, &c);
		world_free(e.world);
		free(e.is_told);
		buf_release(&e.text);
	}
	if (!e.file || (fclose(e.file) != 0 && r == 0))
		r = -errno;
	corpus_close(&c);
	if (r < 0)
		fprintf(stderr, "%s: %s\n", argv[2], strerror(-r));
	return r < 0 ? 1 : 0;
}
