#include "store/store.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* The largest known file has 138 million bytes; a server must not fill the disk. */
enum { BYTES_MAX = 1 << 30, CONNECT_SECONDS = 30, STALL_SECONDS = 60, REDIRECTS_MAX = 5 };

typedef struct Transfer {
    int fd;
    const char *part;
    size_t before, received; /* bytes of earlier calls, of this one */
    BlemishProgressFn progress;
    void *user;
    double start;
    BlemishStatus failure; /* of a callback */
    bool too_large;        /* there is nothing to resume */
    Error *e;
} Transfer;

static BlemishStatus refuse_size(Transfer *t, const char *from) {
    t->too_large = true;
    return error_set(t->e, BLEMISH_ERROR_NETWORK, "%s: found more than %d bytes; what had arrived was deleted", from,
                     BYTES_MAX);
}

static size_t receive(char *bytes, size_t size, size_t count, void *user) {
    Transfer *t = user;
    const size_t length = size * count;
    if (t->before + t->received + length > BYTES_MAX) {
        t->failure = refuse_size(t, t->part);
        return CURL_WRITEFUNC_ERROR;
    }
    for (size_t done = 0; done < length;) {
        const ssize_t n = write(t->fd, bytes + done, length - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            t->failure = error_errno(t->e, "%s: cannot write", t->part);
            return CURL_WRITEFUNC_ERROR;
        }
        done += (size_t)n;
        t->received += (size_t)n;
    }
    return length;
}

static int report(void *user, curl_off_t total, curl_off_t now, curl_off_t up_total, curl_off_t up_now) {
    (void)now;
    (void)up_total;
    (void)up_now;
    Transfer *t = user;
    const double seconds = now_seconds() - t->start;
    BlemishProgress p = {.stage = "download", .done = t->before + t->received, .loss = (double)NAN, .seconds_left = -1};
    p.total = total > 0 ? t->before + (size_t)total : 0;
    p.items_per_second = seconds > 0 ? (double)t->received / seconds : 0;
    if (p.total >= p.done && p.items_per_second > 0) p.seconds_left = (double)(p.total - p.done) / p.items_per_second;
    if (t->progress(t->user, &p) == 0) return 0;
    t->failure = error_set(t->e, BLEMISH_ERROR_INTERRUPTED, "%s: stopped after %zu bytes; the next call resumes",
                           t->part, p.done);
    return 1;
}

/* Receives what is missing. *again: the server cannot resume, so the caller starts from nothing. */
static BlemishStatus transfer(Transfer *t, const char *url, const char *protocols, bool *again) {
    char text[CURL_ERROR_SIZE] = "";
    long code = 0;
    *again = false;
    const off_t end = lseek(t->fd, 0, SEEK_END);
    if (end < 0) return error_errno(t->e, "%s: cannot seek", t->part);
    t->before = (size_t)end;
    t->received = 0;
    t->start = now_seconds();
    CURL *curl = curl_easy_init();
    if (curl == NULL) return error_set(t->e, BLEMISH_ERROR_MEMORY, "%s: cannot start a transfer", url);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, text);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, protocols);
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, protocols);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(curl, CURLOPT_MAXREDIRS, (long)REDIRECTS_MAX);
    curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)STALL_SECONDS);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "blemish/" BLEMISH_VERSION);
    curl_easy_setopt(curl, CURLOPT_RESUME_FROM_LARGE, (curl_off_t)end);
    /* Of what is still to come, where the server says how much; 0 would be no limit. */
    curl_easy_setopt(curl, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)(end < BYTES_MAX ? BYTES_MAX - end : 1));
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, receive);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
    if (t->progress) {
        curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
        curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, report);
        curl_easy_setopt(curl, CURLOPT_XFERINFODATA, t);
    }
    CURLcode result = curl_easy_setopt(curl, CURLOPT_URL, url);
    if (result == CURLE_OK) result = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &code);
    curl_easy_cleanup(curl);
    if (t->failure) return t->failure;
    if (end > 0 && (result == CURLE_RANGE_ERROR || code == 416)) { /* no ranges, or none left to give */
        *again = true;
        return BLEMISH_OK;
    }
    if (result == CURLE_OK) return BLEMISH_OK;
    if (result == CURLE_FILESIZE_EXCEEDED) return refuse_size(t, url);
    return error_set(t->e, BLEMISH_ERROR_NETWORK, "%s: %s", url, text[0] ? text : curl_easy_strerror(result));
}

static bool has_prefix(const char *text, const char *prefix) {
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Makes the finished file durable under its name. */
static BlemishStatus publish(int fd, const char *part, const char *path, Error *e) {
    if (fsync(fd) < 0) return error_errno(e, "%s: cannot write", part);
    if (rename(part, path) < 0) return error_errno(e, "%s: cannot rename to %s", part, path);
    char *folder = text_copy(path, e);
    if (folder == NULL) return e->status;
    char *slash = strrchr(folder, '/');
    if (slash) slash[slash == folder] = '\0';
    const int folder_fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(folder);
    if (folder_fd >= 0) {
        fsync(folder_fd);
        close(folder_fd);
    }
    return BLEMISH_OK;
}

static BlemishStatus fetch_part(Transfer *t, const char *url, const char *protocols, const char *prefix,
                                const char *path) {
    char hex[65];
    struct stat info;
    if (flock(t->fd, LOCK_EX | LOCK_NB) < 0)
        return error_set(t->e, BLEMISH_ERROR_IO, "%s: another program is downloading it", t->part);
    if (fstat(t->fd, &info) < 0) return error_errno(t->e, "%s: cannot read", t->part);
    if (info.st_size > 0) { /* complete already, when a call was stopped between the last byte and the rename */
        if (sha256_file(t->part, hex, t->e)) return t->e->status;
        if (has_prefix(hex, prefix)) return publish(t->fd, t->part, path, t->e);
    }
    bool again;
    BlemishStatus status = transfer(t, url, protocols, &again);
    if (status == BLEMISH_OK && again) {
        if (ftruncate(t->fd, 0) < 0) return error_errno(t->e, "%s: cannot truncate", t->part);
        status = transfer(t, url, protocols, &again);
    }
    if (status != BLEMISH_OK) {
        if (t->too_large || t->before + t->received == 0) unlink(t->part); /* nothing to resume from */
        return status;
    }
    if (sha256_file(t->part, hex, t->e)) return t->e->status;
    if (has_prefix(hex, prefix)) return publish(t->fd, t->part, path, t->e);
    unlink(t->part);
    return error_set(t->e, BLEMISH_ERROR_FORMAT, "%s: sha256: found %s, expected %s...; the file was deleted", url, hex,
                     prefix);
}

BlemishStatus fetch_file(const char *url, const char *protocols, const char *sha256_prefix, const char *path,
                         BlemishProgressFn progress, void *user, Error *e) {
    Text part = {0};
    text_format(&part, "%s.part", path);
    if (part.failed) return error_set(e, BLEMISH_ERROR_MEMORY, "out of memory");
    Transfer t = {.part = part.data, .progress = progress, .user = user, .e = e};
    BlemishStatus status;
    t.fd = open(part.data, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (t.fd < 0) {
        status = error_errno(e, "%s: cannot create", part.data);
    } else {
        status = fetch_part(&t, url, protocols, sha256_prefix, path);
        close(t.fd);
    }
    text_free(&part);
    return status;
}
