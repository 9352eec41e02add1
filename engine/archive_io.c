#include "engine/archive_io.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <zstd.h>

#include "base/alloc.h"
#include "base/io.h"
#include "base/random.h"
#include "base/strbuf.h"

#define WINDOW_LOG_MAX 25 /* 32 MiB: what a foreign frame may make us hold */
#define LEVEL          3

struct archive_out {
	char *file, *temp;
	int fd;
	struct hasher *hasher;
	ZSTD_CCtx *zstd; /* NULL: plain */
	void *out;
	size_t out_size;
};

static bool is_zst(const char *file)
{
	size_t n = strlen(file);

	return n > 4 && !strcmp(file + n - 4, ".zst");
}

/* Found out now, and not when all is written and to be renamed. A link, a
 * device or a FIFO is not to be replaced by a file: root would take away the
 * machine's own. */
static int check_name(const char *file, struct error **errp)
{
	size_t n = strlen(file);
	struct stat st;

	if ((n > 0 && file[n - 1] == '/') ||
	    (stat(file, &st) == 0 && S_ISDIR(st.st_mode)))
		return error_set(errp, EISDIR,
				 "'%s' is a folder, not the name of a file",
				 file);
	if (lstat(file, &st) == 0 && !S_ISREG(st.st_mode))
		return error_set(errp, EINVAL, "'%s' is there and no file",
				 file);
	return 0;
}

int archive_out_open(const char *file, struct archive_out **ret,
		     struct error **errp)
{
	struct archive_out *a;
	int r = check_name(file, errp);

	if (r < 0)
		return r;
	a = xcalloc(1, sizeof(*a));
	a->file = xstrdup(file);
	a->temp = xasprintf("%s.%08llx.tmp", file,
			    (unsigned long long)random_below(1ull << 32));
	a->fd = open(a->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (a->fd < 0) {
		int code = errno;

		freep(&a->temp);
		archive_out_free(a);
		return error_set_errno(errp, code, "creating '%s'", file);
	}
	a->hasher = hasher_new();
	if (is_zst(file)) {
		a->zstd = ZSTD_createCCtx();
		ZSTD_CCtx_setParameter(a->zstd, ZSTD_c_compressionLevel, LEVEL);
		ZSTD_CCtx_setParameter(a->zstd, ZSTD_c_checksumFlag, 1);
		a->out_size = ZSTD_CStreamOutSize();
		a->out = xmalloc(a->out_size);
	}
	*ret = a;
	return 0;
}

static int write_plain(struct archive_out *a, const void *p, size_t n,
		       struct error **errp)
{
	int r = io_write_full(a->fd, p, n);

	return r < 0 ? error_set_errno(errp, -r, "writing '%s'", a->file) : 0;
}

/* Feed @n bytes; with ZSTD_e_end also everything still held. */
static int compress(struct archive_out *a, const void *p, size_t n,
		    ZSTD_EndDirective end, struct error **errp)
{
	ZSTD_inBuffer in = {p, n, 0};
	size_t left;

	do {
		ZSTD_outBuffer out = {a->out, a->out_size, 0};
		int r;

		left = ZSTD_compressStream2(a->zstd, &out, &in, end);
		if (ZSTD_isError(left))
			return error_set(errp, EIO, "compressing '%s': %s",
					 a->file, ZSTD_getErrorName(left));
		r = write_plain(a, a->out, out.pos, errp);
		if (r < 0)
			return r;
	} while (in.pos < in.size || (end == ZSTD_e_end && left > 0));
	return 0;
}

int archive_out_write(struct archive_out *a, const void *p, size_t n,
		      struct error **errp)
{
	hasher_update(a->hasher, p, n);
	return a->zstd ? compress(a, p, n, ZSTD_e_continue, errp)
		       : write_plain(a, p, n, errp);
}

/* The frame's bytes depend on level and library: both are said in a second frame,
 * which decoders skip. It comes last, since the first tells what the file is. */
static int write_compressor(struct archive_out *a, struct error **errp)
{
	cleanup_strbuf struct strbuf frame = STRBUF_INIT;
	uint32_t head[2] = {htole32(ZSTD_MAGIC_SKIPPABLE_START)};

	strbuf_add(&frame, head, sizeof(head));
	strbuf_addf(&frame, "{\"level\":%d,\"zstd\":\"%s\"}", LEVEL,
		    ZSTD_versionString());
	head[1] = htole32((uint32_t)(frame.len - sizeof(head)));
	memcpy(frame.buf, head, sizeof(head));
	return write_plain(a, frame.buf, frame.len, errp);
}

static int finish_frames(struct archive_out *a, struct error **errp)
{
	int r = compress(a, NULL, 0, ZSTD_e_end, errp);

	return r < 0 ? r : write_compressor(a, errp);
}

int archive_out_commit(struct archive_out *a, struct digest *ret_tar,
		       struct error **errp)
{
	int r = a->zstd ? finish_frames(a, errp) : 0;

	if (r < 0)
		return r;
	if (fsync(a->fd) < 0 || rename(a->temp, a->file) < 0)
		return error_set_errno(errp, errno, "finishing '%s'", a->file);
	freep(&a->temp);
	*ret_tar = hasher_final(a->hasher);
	return 0;
}

const char *archive_out_compressor(const struct archive_out *a, int *ret_level)
{
	*ret_level = a->zstd ? LEVEL : 0;
	return a->zstd ? ZSTD_versionString() : NULL;
}

void archive_out_free(struct archive_out *a)
{
	if (!a)
		return;
	closep(&a->fd);
	if (a->temp)
		unlink(a->temp);
	hasher_free(a->hasher);
	ZSTD_freeCCtx(a->zstd);
	free(a->out);
	free(a->temp);
	free(a->file);
	free(a);
}

struct archive_in {
	char *file;
	int fd;
	ZSTD_DCtx *zstd; /* NULL: plain */
	void *raw;
	size_t raw_size;
	ZSTD_inBuffer in;
	bool mid_frame;
};

int archive_in_open(const char *file, struct archive_in **ret,
		    struct error **errp)
{
	struct archive_in *a;
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return error_set_errno(errp, errno, "opening '%s'", file);
	a = xcalloc(1, sizeof(*a));
	a->file = xstrdup(file);
	a->fd = fd;
	if (is_zst(file)) {
		a->zstd = ZSTD_createDCtx();
		ZSTD_DCtx_setParameter(a->zstd, ZSTD_d_windowLogMax,
				       WINDOW_LOG_MAX);
		a->raw_size = ZSTD_DStreamInSize();
		a->raw = xmalloc(a->raw_size);
		a->in.src = a->raw;
	}
	*ret = a;
	return 0;
}

/* 1 when there is input to decompress, 0 at the end of the file. */
static int refill(struct archive_in *a, struct error **errp)
{
	ssize_t n;

	if (a->in.pos < a->in.size)
		return 1;
	n = io_read_full(a->fd, a->raw, a->raw_size);
	if (n < 0)
		return error_set_errno(errp, (int)-n, "reading '%s'", a->file);
	a->in.size = (size_t)n;
	a->in.pos = 0;
	if (n == 0 && a->mid_frame)
		return error_set(errp, EINVAL, "'%s' ends too early", a->file);
	return n > 0;
}

static int read_zstd(struct archive_in *a, void *buf, size_t n,
		     struct error **errp)
{
	ZSTD_outBuffer out = {buf, n, 0};

	while (out.pos == 0) {
		size_t left;
		int r = refill(a, errp);

		if (r <= 0)
			return r;
		left = ZSTD_decompressStream(a->zstd, &out, &a->in);
		if (ZSTD_isError(left))
			return error_set(errp, EINVAL, "'%s' is damaged: %s",
					 a->file, ZSTD_getErrorName(left));
		a->mid_frame = left != 0;
	}
	return (int)out.pos;
}

int archive_in_read(void *archive_in, void *buf, size_t n, struct error **errp)
{
	struct archive_in *a = archive_in;
	ssize_t got;

	n = MIN(n, 1u << 30);
	if (a->zstd)
		return read_zstd(a, buf, n, errp);
	got = io_read_full(a->fd, buf, n);
	if (got < 0)
		return error_set_errno(errp, (int)-got, "reading '%s'",
				       a->file);
	return (int)got;
}

void archive_in_free(struct archive_in *a)
{
	if (!a)
		return;
	closep(&a->fd);
	ZSTD_freeDCtx(a->zstd);
	free(a->raw);
	free(a->file);
	free(a);
}
