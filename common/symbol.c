#include "common/symbol.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MODULES_MAX 128 /* a stage has some forty */

struct module {
	uint64_t base; /* what the linker added to the file's addresses */
	uint64_t from, to;
	char name[64];
	char path[512];
	bool mapped; /* tried */
	struct span file;
	struct span symbols; /* whole Elf64_Sym each */
	struct span names;
};

struct symbols {
	size_t count;
	struct module modules[MODULES_MAX];
};

/* One loaded module: its addresses from the lowest to the highest. */
static int take_module(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct symbols *s = arg;
	struct module *m = &s->modules[s->count];
	const char *path = info->dlpi_name[0] ? info->dlpi_name : "/proc/self/exe", *slash;

	(void)size;
	if (s->count == MODULES_MAX)
		return 0;
	*m = (struct module){.base = info->dlpi_addr, .from = UINT64_MAX};
	for (size_t i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];

		if (p->p_type != PT_LOAD)
			continue;
		if (m->base + p->p_vaddr < m->from)
			m->from = m->base + p->p_vaddr;
		if (m->base + p->p_vaddr + p->p_memsz > m->to)
			m->to = m->base + p->p_vaddr + p->p_memsz;
	}
	slash = strrchr(path, '/');
	snprintf(m->path, sizeof(m->path), "%s", path);
	snprintf(m->name, sizeof(m->name), "%s",
		 info->dlpi_name[0] ? (slash ? slash + 1 : path) : program_invocation_short_name);
	s->count++;
	return 0;
}

struct symbols *symbols_new(void)
{
	struct symbols *s = xcalloc(1, sizeof(*s));

	dl_iterate_phdr(take_module, s);
	return s;
}

void symbols_free(struct symbols *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->count; i++)
		if (s->modules[i].file.len > 0)
			munmap((void *)(uintptr_t)s->modules[i].file.ptr, s->modules[i].file.len);
	free(s);
}

static struct span map_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct span file = SPAN_EMPTY;
	struct stat st;
	void *at;

	if (fd < 0)
		return file;
	if (fstat(fd, &st) == 0 && st.st_size > 0) {
		at = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
		if (at != MAP_FAILED)
			file = span_of(at, (size_t)st.st_size);
	}
	close(fd);
	return file;
}

/* What a section holds; empty if that is not in the file, or not aligned as its entries need. */
static struct span section_bytes(struct span file, const Elf64_Shdr *section)
{
	if (section->sh_offset > file.len || section->sh_size > file.len - section->sh_offset ||
	    section->sh_offset % 8 != 0)
		return SPAN_EMPTY;
	return span_of(file.ptr + section->sh_offset, section->sh_size);
}

/* The sections of a file, of the class and the machine that runs it. */
static const Elf64_Shdr *sections_of(struct span file, size_t *ret_count)
{
	const Elf64_Ehdr *head = (const void *)file.ptr;

	if (file.len < sizeof(*head) || memcmp(head->e_ident, ELFMAG, SELFMAG) != 0 ||
	    head->e_ident[EI_CLASS] != ELFCLASS64 || head->e_shentsize != sizeof(Elf64_Shdr) ||
	    head->e_shoff % 8 != 0 || head->e_shoff > file.len ||
	    head->e_shnum > (file.len - head->e_shoff) / sizeof(Elf64_Shdr))
		return NULL;
	*ret_count = head->e_shnum;
	return (const void *)(file.ptr + head->e_shoff);
}

/* All symbols if they are there, else the exported ones. */
static void read_symbols(struct module *m)
{
	size_t count = 0;
	const Elf64_Shdr *sections;

	m->mapped = true;
	m->file = map_file(m->path);
	sections = sections_of(m->file, &count);
	for (size_t i = 0; sections && i < count; i++) {
		const Elf64_Shdr *s = &sections[i];

		if (s->sh_type != SHT_SYMTAB && (s->sh_type != SHT_DYNSYM || m->symbols.len > 0))
			continue;
		if (s->sh_link >= count || s->sh_entsize != sizeof(Elf64_Sym))
			continue;
		m->symbols = section_bytes(m->file, s);
		m->names = span_of(m->file.ptr, 0);
		if (sections[s->sh_link].sh_offset <= m->file.len &&
		    sections[s->sh_link].sh_size <= m->file.len - sections[s->sh_link].sh_offset)
			m->names = span_of(m->file.ptr + sections[s->sh_link].sh_offset,
					   sections[s->sh_link].sh_size);
	}
}

/* The function that an address of the file lies in; NULL if none does. */
static const Elf64_Sym *find_function(const struct module *m, uint64_t at)
{
	const Elf64_Sym *all = (const void *)m->symbols.ptr;

	for (size_t i = 0; i < m->symbols.len / sizeof(*all); i++)
		if (ELF64_ST_TYPE(all[i].st_info) == STT_FUNC && all[i].st_shndx != SHN_UNDEF &&
		    at >= all[i].st_value && at - all[i].st_value < all[i].st_size)
			return &all[i];
	return NULL;
}

/* Up to the NUL, or what fits; the compiler's additions (".part.0") are left out. */
static void copy_name(const struct module *m, const Elf64_Sym *symbol, char *ret, size_t size)
{
	size_t n = 0;

	for (size_t at = symbol->st_name; at < m->names.len && n + 1 < size; at++) {
		char c = (char)m->names.ptr[at];

		if (c == '\0' || c == '.')
			break;
		ret[n++] = c;
	}
	ret[n] = '\0';
}

void symbols_find(struct symbols *s, uint64_t address, struct symbol *ret)
{
	*ret = (struct symbol){.module = "?", .offset_bytes = address};
	for (size_t i = 0; i < s->count; i++) {
		struct module *m = &s->modules[i];
		const Elf64_Sym *found;

		if (address < m->from || address >= m->to)
			continue;
		if (!m->mapped)
			read_symbols(m);
		snprintf(ret->module, sizeof(ret->module), "%s", m->name);
		ret->offset_bytes = address - m->base;
		found = find_function(m, address - m->base);
		if (found) {
			copy_name(m, found, ret->function, sizeof(ret->function));
			ret->offset_bytes -= found->st_value;
		}
		return;
	}
}
