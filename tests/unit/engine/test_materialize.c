#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/lock.h"
#include "base/thread.h"
#include "bundles.h"
#include "engine/materialize.h"
#include "engine/pointer.h"
#include "tests/fakes/fakes.h"

#define N_FILES 9 /* of role default, the external too, without the symlink */

/* A bundle, a view of its default role, and a workdir. */
struct scene {
	struct made_bundle m;
	struct bundle *b;
	struct role_view *v;
	char *dest;
	struct materialize_options o;
	struct materialize_result res;
	struct error *err;
};

static void scene_open(struct scene *s, const struct fault *fault)
{
	memset(s, 0, sizeof(*s));
	bundle_make(&s->m, fault);
	s->v = bundle_view(&s->m, NULL, &s->b);
	s->dest = xasprintf("%s/work", s->m.dir);
	s->o.dest = s->dest;
}

static void scene_close(struct scene *s)
{
	error_freep(&s->err);
	materialize_result_release(&s->res);
	role_view_close(s->v);
	bundle_close(s->b);
	free(s->dest);
	bundle_release(&s->m);
}
#define cleanup_scene __attribute__((cleanup(scene_close)))

static int run(struct scene *s)
{
	error_freep(&s->err);
	materialize_result_release(&s->res);
	return materialize(s->v, &s->o, &s->res, NULL, &s->err);
}

static char *at(struct scene *s, const char *path)
{
	return xasprintf("%s/%s", s->dest, path);
}

static bool is_right(struct scene *s, const char *path)
{
	cleanup_free char *p = at(s, path);
	cleanup_free char *want = NULL, *got = NULL;
	size_t n, len;

	want = bundle_content(path, &n);
	return io_read_file(AT_FDCWD, p, 16 << 20, &got, &len) == 0 &&
	       len == n && !memcmp(got, want, n);
}

static struct stat stat_of(struct scene *s, const char *path)
{
	cleanup_free char *p = at(s, path);
	struct stat st = {0};

	cr_assert(eq(int, lstat(p, &st), 0), "%s", p);
	return st;
}

static bool exists(struct scene *s, const char *path)
{
	cleanup_free char *p = at(s, path);

	return access(p, F_OK) == 0;
}

static void put(struct scene *s, const char *path, const char *text)
{
	cleanup_free char *p = at(s, path);
	cleanup_free char *dir = xstrdup(p);

	*strrchr(dir, '/') = '\0';
	cr_assert(eq(int, io_mkdirs(dir, 0755), 0));
	unlink(p);
	cr_assert(
		eq(int,
		   io_write_file_atomic(AT_FDCWD, p, text, strlen(text), 0644),
		   0));
}

static void make_dir(struct scene *s, const char *path)
{
	cleanup_free char *p = at(s, path);

	cr_assert(eq(int, io_mkdirs(p, 0755), 0));
}

static void all_right(struct scene *s)
{
	static const char *const paths[] = {"README.md", "bin/run",
					    "src/a.py",  "src/b/c.py",
					    "src/empty", "data/big.bin",
					    "data/tool", "data/large.txt"};

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		cr_expect(is_right(s, paths[i]), "%s", paths[i]);
	cr_expect(exists(s, "hollow"));
	cr_expect(exists(s, ".mops/ptr/data/ext.bin.json"));
	cr_expect(exists(s, PROVENANCE_PATH));
	cr_expect(not(exists(s, ".mops/tmp")));
}

Test(materialize, writes_every_file_of_the_role)
{
	cleanup_scene struct scene s;
	char target[100] = "";

	scene_open(&s, NULL);
	cr_assert(eq(int, run(&s), 0), "%s", s.err ? s.err->message : "");
	all_right(&s);
	cleanup_free char *link = at(&s, "link");
	cr_expect(eq(i64, readlink(link, target, sizeof(target) - 1), 8));
	cr_expect(eq(str, target, "src/a.py"));
	cr_expect(not(exists(&s, "data/ext.bin")));
	cr_expect(eq(u64, s.res.files, N_FILES + 1));
	cr_expect(eq(u64, s.res.created, N_FILES + 1));
	cr_expect(eq(u64, s.res.pointers, 1));
	cr_expect(eq(uint, stat_of(&s, "bin/run").st_mode & 07777, 0755));
	cr_expect(eq(uint, stat_of(&s, "data/tool").st_mode & 07777, 0755));
	cr_expect(eq(uint, stat_of(&s, "README.md").st_mode & 07777, 0644));
	cr_expect(eq(uint, stat_of(&s, "data/tool").st_nlink, 1),
		  "executables are never hardlinked");
	cr_expect(eq(uint, stat_of(&s, "src/empty").st_nlink, 1));
	if (stat_of(&s, "data/big.bin").st_nlink > 1)
		cr_expect(eq(uint, stat_of(&s, "data/big.bin").st_mode & 07777,
			     0444));
}

static void collect_times(struct scene *s, struct timespec *out)
{
	static const char *const paths[] = {"",
					    "src",
					    "src/a.py",
					    "data/big.bin",
					    "link",
					    ".mops",
					    "hollow",
					    ".mops/ptr/data",
					    PROVENANCE_PATH,
					    "data/tool"};

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		out[i] = stat_of(s, paths[i]).st_mtim;
}

Test(materialize, twice_changes_nothing)
{
	cleanup_scene struct scene s;
	struct timespec before[10], after[10];

	scene_open(&s, NULL);
	cr_assert(eq(int, run(&s), 0));
	collect_times(&s, before);
	time_sleep_ms(20);
	cr_assert(eq(int, run(&s), 0));
	collect_times(&s, after);
	cr_expect(eq(int, memcmp(before, after, sizeof(before)), 0));
	cr_expect(eq(u64, s.res.created, 0));
	cr_expect(eq(u64, s.res.unchanged, N_FILES + 1));
}

Test(materialize, finds_all_conflicts_before_it_writes)
{
	cleanup_scene struct scene s;

	scene_open(&s, NULL);
	put(&s, "README.md", "mine");
	put(&s, "data/big.bin", "mine too");
	put(&s, "notes.txt", "not in the bundle");
	cr_assert(eq(int, run(&s), -EEXIST));
	cr_expect(eq(int, s.err->kind, ERROR_CONFLICT));
	cr_expect(eq(u64, s.res.n_conflicts, 2));
	cr_expect(eq(str, s.res.conflicts[0], "README.md"));
	cr_expect(eq(str, s.res.conflicts[1], "data/big.bin"));
	cr_expect(not(exists(&s, "src")));
	cr_expect(not(exists(&s, ".mops")));

	s.o.overwrite = true;
	cr_assert(eq(int, run(&s), 0), "%s", s.err ? s.err->message : "");
	all_right(&s);
	cr_expect(eq(u64, s.res.replaced, 2));
	cr_expect(exists(&s, "notes.txt"), "others' files stay");
}

Test(materialize, same_bytes_are_no_conflict_but_another_x_bit_is)
{
	cleanup_scene struct scene s;
	size_t n;

	scene_open(&s, NULL);
	cleanup_free char *text = bundle_content("README.md", &n);
	cleanup_free char *p = at(&s, "README.md");
	make_dir(&s, ".");
	cr_assert(eq(int, io_write_file_atomic(AT_FDCWD, p, text, n, 0600), 0));
	cr_assert(eq(int, run(&s), 0));
	cr_expect(eq(u64, s.res.unchanged, 1));
	cr_expect(eq(uint, stat_of(&s, "README.md").st_mode & 07777, 0600));

	chmod(p, 0755);
	cr_assert(eq(int, run(&s), -EEXIST));
	cr_expect(eq(str, s.res.conflicts[0], "README.md"));
	s.o.overwrite = true;
	cr_assert(eq(int, run(&s), 0));
	cr_expect(eq(uint, stat_of(&s, "README.md").st_mode & 07777, 0644));
}

/* It may be what belongs there: nobody is told to overwrite it. */
Test(materialize, what_cannot_be_compared_is_an_error_and_no_conflict)
{
	cleanup_scene struct scene s;

	scene_open(&s, NULL);
	s.o.writable = true;
	cr_assert(eq(int, run(&s), 0));
	cleanup_free char *path = at(&s, "README.md");
	cleanup_fd int holder = open(path, O_RDWR | O_CLOEXEC);
	signal(SIGIO, SIG_IGN);
	if (holder < 0 || fcntl(holder, F_SETLEASE, F_WRLCK) < 0)
		cr_skip_test("no leases on this file system");
	cr_expect(eq(int, run(&s), -EAGAIN));
	cr_expect(eq(int, s.err->kind, ERROR_DOWNLOAD));
	cr_assert(eq(int, fcntl(holder, F_SETLEASE, F_UNLCK), 0));
	cr_expect(eq(int, run(&s), 0));
	cr_expect(eq(u64, s.res.unchanged, N_FILES + 1));
}

Test(materialize, a_folder_gives_way_only_when_it_is_empty)
{
	cleanup_scene struct scene s;

	scene_open(&s, NULL);
	make_dir(&s, "README.md");
	cr_expect(eq(int, run(&s), -EEXIST));
	s.o.overwrite = true;
	put(&s, "README.md/keep", "precious");
	cr_assert(eq(int, run(&s), -EEXIST));
	cr_expect(eq(u64, s.res.n_conflicts, 1));
	cr_expect(exists(&s, "README.md/keep"));
	cleanup_free char *keep = at(&s, "README.md/keep");
	unlink(keep);
	cr_assert(eq(int, run(&s), 0));
	all_right(&s);
}

Test(materialize, a_file_where_a_folder_belongs_is_one_conflict)
{
	cleanup_scene struct scene s;

	scene_open(&s, NULL);
	put(&s, "src", "a file");
	cr_assert(eq(int, run(&s), -EEXIST));
	cr_expect(eq(u64, s.res.n_conflicts, 1));
	cr_expect(eq(str, s.res.conflicts[0], "src"));
	s.o.overwrite = true;
	cr_assert(eq(int, run(&s), 0), "%s", s.err ? s.err->message : "");
	all_right(&s);
}

/* Whatever lies there, nothing outside is touched. */
Test(materialize, symlinks_in_the_workdir_are_not_followed)
{
	static const struct {
		const char *name, *target;
	} links[] = {
		{"src", "../outside"},      {"data", "/"},
		{"bin", "../outside/none"}, {"README.md", "../outside/victim"},
		{".mops", "../outside"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
		cleanup_scene struct scene s;
		cleanup_free char *got = NULL;
		size_t len;

		scene_open(&s, NULL);
		make_dir(&s, "../outside");
		put(&s, "../outside/victim", "safe");
		make_dir(&s, ".");
		cleanup_free char *p = at(&s, links[i].name);
		cr_assert(eq(int, symlink(links[i].target, p), 0));
		cr_expect(eq(int, run(&s), -EEXIST));
		s.o.overwrite = true;
		cr_assert(eq(int, run(&s), 0), "%s",
			  s.err ? s.err->message : "");
		all_right(&s);
		cleanup_free char *victim = at(&s, "../outside/victim");
		cr_assert(eq(int,
			     io_read_file(AT_FDCWD, victim, 100, &got, &len),
			     0));
		cr_expect(eq(str, got, "safe"));
		cr_expect(not(exists(&s, "../outside/a.py")));
		cr_expect(not(exists(&s, "../outside/tmp")));
	}
}

/* A racer swaps a folder for a symlink while files are being placed. */
struct racer {
	char *dir, *away, *out;
	atomic_bool stop;
};

static void *race(void *arg)
{
	struct racer *r = arg;

	while (!atomic_load(&r->stop)) {
		if (rename(r->dir, r->away) == 0) {
			if (symlink(r->out, r->dir) == 0)
				unlink(r->dir);
			rename(r->away, r->dir);
		}
	}
	return NULL;
}

Test(materialize, a_folder_swapped_for_a_symlink_leads_nowhere)
{
	cleanup_scene struct scene s;
	struct racer r = {0};
	pthread_t th;

	scene_open(&s, NULL);
	cr_assert(eq(int, run(&s), 0));
	make_dir(&s, "../outside");
	r.dir = at(&s, "src");
	r.away = at(&s, "src.away");
	r.out = at(&s, "../outside");
	s.o.overwrite = true;
	cr_assert(eq(int, thread_start(&th, "racer", race, &r), 0));
	for (int i = 0; i < 30; i++) {
		cleanup_free char *p = at(&s, "src/a.py");

		unlink(p);
		run(&s); /* may fail; must not write outside */
	}
	atomic_store(&r.stop, true);
	pthread_join(th, NULL);
	cr_expect(not(exists(&s, "../outside/a.py")));
	cr_expect(not(exists(&s, "../outside/b")));
	free(r.dir);
	free(r.away);
	free(r.out);
}

Test(materialize, pointers_are_kept_when_fulfilled)
{
	cleanup_scene struct scene s;
	cleanup_pointer struct pointer p = {0};
	cleanup_free char *doc = NULL;
	size_t len;

	scene_open(&s, NULL);
	s.o.prefetch_external = true;
	cr_assert(eq(int, run(&s), 0), "%s", s.err ? s.err->message : "");
	cr_expect(is_right(&s, "data/ext.bin"));
	cleanup_free char *at_ptr = at(&s, ".mops/ptr/data/ext.bin.json");
	cr_assert(eq(int, io_read_file(AT_FDCWD, at_ptr, 9999, &doc, &len), 0));
	cr_assert(eq(int, pointer_parse(doc, len, &p, NULL), 0));
	cr_expect(p.fulfilled);
	cr_expect(eq(str, p.local_path, "data/ext.bin"));
	cr_expect(eq(str, p.layer, "data"));

	s.o.prefetch_external = false;
	struct stat before = stat_of(&s, ".mops/ptr/data/ext.bin.json");
	cr_assert(eq(int, run(&s), 0));
	struct stat after = stat_of(&s, ".mops/ptr/data/ext.bin.json");
	cr_expect(eq(u64, before.st_ino, after.st_ino), "never reset");

	put(&s, ".mops/ptr/data/ext.bin.json", "{}");
	cr_assert(eq(int, run(&s), 0), "ours, never a conflict");
	cr_expect(eq(u64, s.res.replaced, 1));
}

Test(materialize, an_external_that_drifted_is_not_written)
{
	cleanup_scene struct scene s;
	cleanup_free char *p = NULL;
	size_t n;

	scene_open(&s, NULL);
	s.o.prefetch_external = true;
	p = bundle_content("data/ext.bin", &n);
	p[n / 2] ^= 1;
	cr_assert(eq(int,
		     io_write_file_atomic(AT_FDCWD, s.m.external, p, n, 0644),
		     0));
	cr_assert(eq(int, run(&s), -ESTALE));
	cr_expect(eq(int, s.err->kind, ERROR_VALIDATION));
	cr_expect(not(exists(&s, "data/ext.bin")));
	cr_expect(not(exists(&s, "README.md")));
	cr_expect(not(exists(&s, ".mops/tmp")));
}

Test(materialize, wrong_bytes_are_an_error_and_never_written)
{
	struct fault bad = {
		.action = FAULT_CORRUPT, .nth = 4, .every = true, .arg = 3};
	cleanup_scene struct scene s;

	scene_open(&s, &bad); /* resolve, manifest, tree; then all wrong */
	cr_assert(eq(int, run(&s), -EBADMSG));
	cr_expect(eq(int, s.err->kind, ERROR_VALIDATION));
	cr_expect(not(exists(&s, "README.md")));
	cr_expect(not(exists(&s, "data")));
}

Test(materialize, writable_files_are_copies)
{
	cleanup_scene struct scene s;

	scene_open(&s, NULL);
	s.o.writable = true;
	cr_assert(eq(int, run(&s), 0));
	cr_expect(eq(uint, stat_of(&s, "data/big.bin").st_nlink, 1));
	cr_expect(eq(uint, stat_of(&s, "data/big.bin").st_mode & 07777, 0644));
	cr_expect(eq(u64, s.res.linked, 0));
}

Test(materialize, each_link_policy_gives_the_same_bytes)
{
	static const enum link_how how[] = {LINK_AUTO, LINK_REFLINK,
					    LINK_HARDLINK, LINK_SYMLINK,
					    LINK_COPY};
	cleanup_scene struct scene s;

	scene_open(&s, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(how); i++) {
		cleanup_free char *dest = xasprintf("%s/w%zu", s.m.dir, i);

		free(s.dest);
		s.dest = xstrdup(dest);
		s.o.dest = s.dest;
		s.o.link = how[i];
		cr_assert(eq(int, run(&s), 0), "%s",
			  s.err ? s.err->message : "");
		all_right(&s);
		struct stat st = stat_of(&s, "data/big.bin");
		bool link = S_ISLNK(st.st_mode);
		cr_expect(eq(int, link, how[i] == LINK_SYMLINK));
		if (how[i] == LINK_COPY)
			cr_expect(eq(uint, st.st_nlink, 1));
		cr_assert(eq(int, run(&s), 0));
		cr_expect(eq(u64, s.res.created + s.res.replaced, 0));
	}
}

Test(materialize, a_damaged_blob_is_fetched_again)
{
	cleanup_scene struct scene s;

	scene_open(&s, NULL);
	s.o.link = LINK_COPY;
	cr_assert(eq(int, run(&s), 0));
	struct digest_hex hex = digest_to_hex(&s.m.pack_of_code);
	cleanup_free char *blob =
		xasprintf("%s/blobs/sha256/%.2s/%s", s.m.settings.cache_dir,
			  hex.str, hex.str);
	chmod(blob, 0600);
	cleanup_fd int fd = open(blob, O_WRONLY | O_CLOEXEC);
	cr_assert(ge(int, fd, 0), "%s", blob);
	for (off_t off = 0; off < 8000; off += 100)
		cr_assert(eq(i64, pwrite(fd, "X", 1, off), 1));
	cleanup_free char *p = at(&s, "src/a.py");
	unlink(p);
	cr_assert(eq(int, run(&s), 0), "%s", s.err ? s.err->message : "");
	all_right(&s);
}

Test(materialize, a_glob_writes_what_it_matches)
{
	cleanup_scene struct scene s;

	scene_open(&s, NULL);
	s.o.glob = "src/**";
	put(&s, "README.md", "in nobody's way");
	cr_assert(eq(int, run(&s), 0), "%s", s.err ? s.err->message : "");
	cr_expect(is_right(&s, "src/b/c.py"));
	cr_expect(not(exists(&s, "bin")));
	cr_expect(eq(u64, s.res.files, 3));
	s.o.glob = "nothing";
	cr_expect(eq(int, run(&s), -ENOENT));
	cr_expect(eq(int, s.err->kind, ERROR_NOT_FOUND));
}

Test(materialize, leftovers_of_a_killed_run_go)
{
	cleanup_scene struct scene s;

	scene_open(&s, NULL);
	put(&s, ".mops/tmp/17", "half a file");
	cr_assert(eq(int, run(&s), 0));
	all_right(&s);
}

static void *materialize_too(void *arg)
{
	struct scene *s = arg;
	struct materialize_result res = {0};
	int r = materialize(s->v, &s->o, &res, NULL, NULL);

	materialize_result_release(&res);
	return (void *)(intptr_t)r;
}

Test(materialize, runs_at_once_in_one_workdir_all_succeed)
{
	cleanup_scene struct scene s;
	pthread_t th[6];

	scene_open(&s, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(th); i++)
		cr_assert(eq(int,
			     thread_start(&th[i], "mat", materialize_too, &s),
			     0));
	for (size_t i = 0; i < ARRAY_SIZE(th); i++) {
		void *r;

		pthread_join(th[i], &r);
		cr_expect(eq(int, (int)(intptr_t)r, 0));
	}
	all_right(&s);
}

Test(materialize, a_workdir_that_is_a_file_is_a_conflict)
{
	cleanup_scene struct scene s;

	scene_open(&s, NULL);
	cr_assert(eq(int,
		     io_write_file_atomic(AT_FDCWD, s.dest, "a file", 6, 0644),
		     0));
	cr_expect(lt(int, run(&s), 0));
	cr_expect(eq(int, s.err->kind, ERROR_CONFLICT));
}

static bool holds(struct scene *s, const char *path, const char *text)
{
	cleanup_free char *p = at(s, path);
	cleanup_free char *got = NULL;
	size_t len;

	return io_read_file(AT_FDCWD, p, 4096, &got, &len) == 0 &&
	       !strcmp(got, text);
}

Test(materialize, what_the_user_calls_dot_mops_is_not_removed)
{
	cleanup_scene struct scene s;

	scene_open(&s, NULL);
	put(&s, ".mops", "mine");
	cr_expect(lt(int, run(&s), 0));
	cr_assert(eq(int, s.err->kind, ERROR_CONFLICT));
	cr_expect(holds(&s, ".mops", "mine"));
	cr_expect(not(exists(&s, "README.md")));
	s.o.overwrite = true;
	cr_assert(eq(int, run(&s), 0), "%s", s.err ? s.err->message : "");
	all_right(&s);
}

/* Whoever can write there could swap what is staged. */
Test(materialize, a_staging_folder_that_others_can_write_to_is_refused)
{
	cleanup_scene struct scene s;

	scene_open(&s, NULL);
	make_dir(&s, ".mops");
	cleanup_free char *p = at(&s, ".mops");
	cr_assert(eq(int, chmod(p, 0777), 0));
	cr_expect(lt(int, run(&s), 0));
	cr_assert(eq(int, s.err->kind, ERROR_CONFLICT));
	cr_expect(not(exists(&s, "README.md")));
	cr_assert(eq(int, chmod(p, 0700), 0));
	cr_expect(eq(int, run(&s), 0));
}

Test(materialize, a_trailing_slash_changes_nothing)
{
	cleanup_scene struct scene s;
	cleanup_free char *slashes = NULL;

	scene_open(&s, NULL);
	slashes = xasprintf("%s/deeper//", s.dest);
	s.o.dest = slashes;
	cr_assert(eq(int, run(&s), 0), "%s", s.err ? s.err->message : "");
	free(s.dest);
	s.dest = xstrdup(slashes);
	all_right(&s);
}
