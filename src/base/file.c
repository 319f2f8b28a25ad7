#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

BlemishStatus file_load(const char *path, const char *expected, size_t most, uint8_t **bytes, size_t *size, Error *e) {
    *bytes = NULL;
    *size = 0;
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* opening a FIFO must not wait for a writer */
    if (fd < 0) return error_errno(e, "%s", path);
    struct stat info;
    if (fstat(fd, &info) != 0)
        error_errno(e, "%s", path);
    else if (!S_ISREG(info.st_mode))
        error_set(e, BLEMISH_ERROR_IO, "%s: found %s, expected %s", path,
                  S_ISDIR(info.st_mode) ? "a folder" : "something that is not a regular file", expected);
    else if ((uintmax_t)info.st_size > most)
        error_set(e, BLEMISH_ERROR_FORMAT, "%s: size: found %jd bytes, expected %s of at most %zu", path,
                  (intmax_t)info.st_size, expected, most);
    else if ((*bytes = malloc((size_t)info.st_size + 1)) == NULL)
        error_set(e, BLEMISH_ERROR_MEMORY, "%s: out of memory (asked for %jd bytes)", path, (intmax_t)info.st_size);
    size_t done = 0;
    while (*bytes != NULL && done < (size_t)info.st_size) {
        ssize_t n = read(fd, *bytes + done, (size_t)info.st_size - done);
        if (n > 0) {
            done += (size_t)n;
        } else if (n == 0) { /* it shrank meanwhile */
            break;
        } else if (errno != EINTR) {
            error_errno(e, "%s: cannot read", path);
            array_free(*bytes);
            *bytes = NULL;
        }
    }
    close(fd);
    if (*bytes != NULL) (*bytes)[done] = '\0';
    *size = done;
    return *bytes == NULL ? e->status : BLEMISH_OK;
}
