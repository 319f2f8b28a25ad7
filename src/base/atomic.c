#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

/* Length of the folder part of path, its slash included; 0 for a bare name. */
static size_t folder_length(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash == NULL ? 0 : (size_t)(slash - path) + 1;
}

/* Not mkstemp: its files are 0600 whatever the umask. Not `path` plus a suffix: that can exceed NAME_MAX. */
static int create_temporary(AtomicFile *f) {
    size_t folder = folder_length(f->path), size = folder + 32;
    f->temporary = malloc(size);
    if (f->temporary == NULL) return -1;
    int fd = -1;
    for (int attempt = 0; attempt < 100; attempt++) {
        uint64_t tag;
        if (getrandom(&tag, sizeof tag, 0) != (ssize_t)sizeof tag) break;
        snprintf(f->temporary, size, "%.*s.blemish-%016llx", (int)folder, f->path, (unsigned long long)tag);
        fd = open(f->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0 || errno != EEXIST) break;
    }
    if (fd < 0) { /* nothing to remove later */
        int number = errno;
        free(f->temporary);
        f->temporary = NULL;
        errno = number;
    }
    return fd;
}

BlemishStatus atomic_open(AtomicFile *f, const char *path, Error *e) {
    *f = (AtomicFile){0};
    struct stat info;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode))
        return error_set(e, BLEMISH_ERROR_IO, "%s: found something that is not a regular file, will not replace it",
                         path);
    f->path = realpath(path, NULL);
    if (f->path == NULL && lstat(path, &info) == 0) /* renaming to it would replace the link, not what it names */
        return error_set(e, BLEMISH_ERROR_IO, "%s: found a symbolic link to no file, expected a file or nothing", path);
    if (f->path == NULL && (f->path = text_copy(path, e)) == NULL) return e->status;
    int fd = create_temporary(f);
    if (fd >= 0 && (f->file = fdopen(fd, "wb")) != NULL) return BLEMISH_OK;
    error_errno(e, "%s: cannot create a file in its folder", path);
    if (fd >= 0) close(fd);
    atomic_abandon(f);
    return e->status;
}

BlemishStatus atomic_write(AtomicFile *f, const void *bytes, size_t length, Error *e) {
    if (length == 0 || fwrite(bytes, 1, length, f->file) == length) return BLEMISH_OK;
    return error_errno(e, "%s: cannot write", f->path);
}

BlemishStatus atomic_commit(AtomicFile *f, Error *e) {
    bool failed = ferror(f->file) != 0;
    if (failed) errno = EIO; /* the write's own errno is gone */
    failed = failed || fflush(f->file) != 0 || fsync(fileno(f->file)) != 0;
    if (failed) error_errno(e, "%s: cannot write", f->path);
    FILE *file = f->file;
    f->file = NULL;
    if (failed) {
        fclose(file);
    } else if (fclose(file) != 0 || rename(f->temporary, f->path) != 0) {
        failed = true;
        error_errno(e, "%s: cannot write", f->path);
    }
    if (failed) {
        atomic_abandon(f);
        return e->status;
    }
    size_t folder = folder_length(f->path);
    f->path[folder] = '\0';
    int fd = open(folder ? f->path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) { /* the file is complete; a file system that cannot sync folders is no failure of ours */
        (void)!fsync(fd);
        close(fd);
    }
    free(f->temporary);
    f->temporary = NULL;
    atomic_abandon(f);
    return BLEMISH_OK;
}

void atomic_abandon(AtomicFile *f) {
    if (f->file != NULL) fclose(f->file);
    if (f->temporary != NULL) unlink(f->temporary);
    free(f->temporary);
    free(f->path);
    *f = (AtomicFile){0};
}

BlemishStatus atomic_write_file(const char *path, const void *bytes, size_t length, Error *e) {
    AtomicFile f;
    if (atomic_open(&f, path, e) != BLEMISH_OK) return e->status;
    if (atomic_write(&f, bytes, length, e) == BLEMISH_OK) return atomic_commit(&f, e);
    atomic_abandon(&f);
    return e->status;
}
