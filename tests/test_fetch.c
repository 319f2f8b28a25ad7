#include "helper_pth.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LENGTH = 300000 };
static char folder[64], path[128], part[128], served[160], server_log[128], prefix[9];
static uint8_t content[LENGTH];
static pid_t server;
static int port;

/* ---- the server ----------------------------------------------------------------------------------------- */

static int start_server(void **state) {
    (void)state;
    int fds[2];
    strcpy(folder, "/tmp/blemish-fetch-XXXXXX");
    if (mkdtemp(folder) == NULL || pipe(fds) < 0) return -1;
    snprintf(path, sizeof path, "%s/file.pth", folder);
    snprintf(part, sizeof part, "%s/file.pth.part", folder);
    snprintf(served, sizeof served, "%s/served", folder);
    snprintf(server_log, sizeof server_log, "%s/log", folder);
    Random r = random_new(1, 1);
    for (size_t i = 0; i < LENGTH; i++) content[i] = (uint8_t)random_u32(&r);
    write_bytes(served, content, LENGTH);
    char hex[65];
    Error e = {0};
    if (sha256_file(served, hex, &e)) return -1;
    snprintf(prefix, sizeof prefix, "%.8s", hex);
    static const char *const proxies[] = {"http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"};
    for (size_t i = 0; i < 4; i++) unsetenv(proxies[i]);
    server = fork();
    if (server < 0) return -1;
    if (server == 0) {
        dup2(fds[1], 1);
        close(fds[0]);
        execlp("python3", "python3", TEST_DIR "/serve_weights.py", folder, server_log, (char *)NULL);
        _exit(127);
    }
    close(fds[1]);
    FILE *out = fdopen(fds[0], "r");
    if (out == NULL || fscanf(out, "%d", &port) != 1) port = 0;
    if (out) fclose(out);
    return 0;
}

static int stop_server(void **state) {
    (void)state;
    if (server > 0) {
        kill(server, SIGKILL);
        waitpid(server, NULL, 0);
    }
    unlink(served);
    unlink(server_log);
    return rmdir(folder);
}

/* Each test begins without files. */
static int clean(void **state) {
    (void)state;
    unlink(path);
    unlink(part);
    unlink(server_log);
    return 0;
}

static void need_server(void) {
    if (port) return;
    print_message("python3 is absent: downloads are not tested\n");
    skip();
}

static bool exists(const char *name) {
    return access(name, F_OK) == 0;
}

static BlemishStatus fetch(const char *mode, BlemishProgressFn progress, void *user, Error *e) {
    char url[200];
    snprintf(url, sizeof url, "http://127.0.0.1:%d/%s/served", port, mode);
    *e = (Error){0};
    const BlemishStatus status = fetch_file(url, "http,https", prefix, path, progress, user, e);
    assert_int_equal(status, e->status);
    assert_null(strchr(e->text, '\n'));
    if (status == BLEMISH_OK) { /* only ever the right bytes, and nothing beside them */
        size_t length;
        uint8_t *bytes = read_bytes(path, &length);
        assert_int_equal(length, LENGTH);
        assert_memory_equal(bytes, content, LENGTH);
        free(bytes);
        assert_false(exists(part));
    } else {
        assert_false(exists(path));
    }
    return status;
}

static void assert_fails(const char *mode, BlemishStatus expected, const char *message) {
    Error e;
    if (fetch(mode, NULL, NULL, &e) != expected || strstr(e.text, message) == NULL)
        fail_msg("found %d '%s', expected %d '%s'", e.status, e.text, expected, message);
}

static void assert_fetches(const char *mode, const char *expected_log) {
    Error e;
    if (fetch(mode, NULL, NULL, &e)) fail_msg("%s", e.text);
    size_t length;
    uint8_t *log = read_bytes(server_log, &length);
    const bool same = length == strlen(expected_log) && memcmp(log, expected_log, length) == 0;
    if (!same) fail_msg("the server saw '%.*s', expected '%s'", (int)length, log, expected_log);
    free(log);
}

/* ---- tests ---------------------------------------------------------------------------------------------- */

static void whole_files_arrive(void **state) {
    need_server();
    assert_fetches("ok", "/ok/served -\n");
    clean(state);
    assert_fetches("redirect", "/redirect/served -\n/ok/served -\n");
}

static void partial_files_are_resumed(void **state) {
    (void)state;
    need_server();
    write_bytes(part, content, 1234);
    assert_fetches("ok", "/ok/served bytes=1234-\n");
}

static void servers_without_ranges_start_over(void **state) {
    (void)state;
    need_server();
    write_bytes(part, content, 1234);
    assert_fetches("noranges", "/noranges/served bytes=1234-\n/noranges/served -\n");
}

static void overlong_parts_start_over(void **state) {
    (void)state;
    need_server();
    static uint8_t zeros[LENGTH + 5];
    write_bytes(part, zeros, sizeof zeros);
    assert_fetches("ok", "/ok/served bytes=300005-\n/ok/served -\n");
    clean(state);
    write_bytes(part, zeros, LENGTH);
    assert_fetches("ok", "/ok/served bytes=300000-\n/ok/served -\n");
}

static void complete_parts_need_no_server(void **state) {
    (void)state;
    Error e = {0};
    write_bytes(part, content, LENGTH);
    /* Port 9 ("discard") answers nothing. */
    if (fetch_file("http://127.0.0.1:9/x", "http", prefix, path, NULL, NULL, &e)) fail_msg("%s", e.text);
    assert_true(exists(path));
    assert_false(exists(part));
}

static void wrong_checksums_are_deleted(void **state) {
    (void)state;
    need_server();
    write_bytes(part, "not its beginning", 17);
    assert_fails("ok", BLEMISH_ERROR_FORMAT, "/ok/served: sha256: found ");
    assert_false(exists(part));
    assert_fails("nolength", BLEMISH_ERROR_FORMAT, "; the file was deleted");
    assert_false(exists(part));
}

static void truncated_downloads_are_kept_and_resumed(void **state) {
    (void)state;
    need_server();
    assert_fails("truncate", BLEMISH_ERROR_NETWORK, "/truncate/served: ");
    unlink(server_log);
    assert_fetches("ok", "/ok/served bytes=150000-\n");
}

/* An error that left its part behind would come again at every later call. */
static void files_over_the_limit_leave_nothing(void **state) {
    (void)state;
    need_server();
    assert_fails("huge", BLEMISH_ERROR_NETWORK, "/huge/served: found more than 1073741824 bytes");
    assert_false(exists(part));
    write_bytes(part, content, 1234);
    assert_fails("huge", BLEMISH_ERROR_NETWORK, "/huge/served: found more than 1073741824 bytes");
    assert_false(exists(part));
}

static void refused_requests_are_reported(void **state) {
    (void)state;
    need_server();
    Error e = {0};
    char url[100];
    assert_fails("ok/none", BLEMISH_ERROR_NETWORK, "404");
    snprintf(url, sizeof url, "http://127.0.0.1:%d/ok/served", port);
    assert_int_equal(fetch_file(url, "https", prefix, path, NULL, NULL, &e),
                     BLEMISH_ERROR_NETWORK); /* not in the clear */
    assert_int_equal(fetch_file("file:///etc/passwd", "http,https", prefix, path, NULL, NULL, &e),
                     BLEMISH_ERROR_NETWORK);
    assert_int_equal(fetch_file("http://127.0.0.1:9/x", "http", prefix, path, NULL, NULL, &e), BLEMISH_ERROR_NETWORK);
    assert_int_equal(fetch_file("not an address", "http", prefix, path, NULL, NULL, &e), BLEMISH_ERROR_NETWORK);
    assert_int_equal(fetch_file(url, "http", prefix, "/nonexistent/x", NULL, NULL, &e), BLEMISH_ERROR_IO);
    assert_false(exists(path));
    assert_false(exists(part)); /* nothing arrived, nothing is left */
}

typedef struct Seen {
    size_t calls, done, total, stop_at;
} Seen;

static int watch(void *user, const BlemishProgress *p) {
    Seen *seen = user;
    assert_string_equal(p->stage, "download");
    assert_true(p->done >= seen->done);
    seen->calls++;
    seen->done = p->done;
    seen->total = p->total;
    return seen->stop_at && p->done >= seen->stop_at;
}

static void interrupted_downloads_are_kept_and_resumed(void **state) {
    (void)state;
    need_server();
    Seen seen = {.stop_at = 1};
    Error e;
    assert_int_equal(fetch("slow", watch, &seen, &e), BLEMISH_ERROR_INTERRUPTED);
    size_t kept;
    free(read_bytes(part, &kept));
    assert_true(kept >= 1 && kept <= LENGTH / 2);
    unlink(server_log);
    seen = (Seen){0};
    if (fetch("ok", watch, &seen, &e)) fail_msg("%s", e.text);
    assert_true(seen.calls > 0);
    assert_int_equal(seen.done, LENGTH);
    assert_int_equal(seen.total, LENGTH);
    char expected[64];
    snprintf(expected, sizeof expected, "/ok/served bytes=%zu-\n", kept);
    size_t length;
    uint8_t *log = read_bytes(server_log, &length);
    assert_int_equal(length, strlen(expected));
    assert_memory_equal(log, expected, length);
    free(log);
}

/* A limit on file sizes stands in for a full disk: write() fails part of the way. */
static void full_disks_are_reported(void **state) {
    (void)state;
    need_server();
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    const struct rlimit small = {.rlim_cur = 100000, .rlim_max = before.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    Error e;
    const BlemishStatus status = fetch("ok", NULL, NULL, &e);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(status, BLEMISH_ERROR_IO);
    assert_non_null(strstr(e.text, "/file.pth.part: cannot write: "));
    unlink(server_log);
    assert_fetches("ok", "/ok/served bytes=100000-\n");
}

static void one_download_at_a_time(void **state) {
    (void)state;
    need_server();
    write_bytes(part, content, 10);
    const int fd = open(part, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    assert_fails("ok", BLEMISH_ERROR_IO, "another program is downloading it");
    close(fd);
    assert_fetches("ok", "/ok/served bytes=10-\n");
    clean(state);
    assert_int_equal(symlink(served, part), 0);
    assert_fails("ok", BLEMISH_ERROR_IO, "cannot create"); /* a link is not followed */
}

/* The whole way: the known names, the folder, and that what a server gives is checked. */
static void known_weights_are_checked(void **state) {
    (void)state;
    need_server();
    char own[160], base[100], found[256], wrong[200];
    snprintf(own, sizeof own, "%s/a/b", folder);
    setenv("BLEMISH_WEIGHTS", own, 1);
    snprintf(wrong, sizeof wrong, "%s/resnet18-f37072fd.pth", folder);
    write_bytes(wrong, content, 1000);
    snprintf(base, sizeof base, "http://127.0.0.1:%d/ok", port);
    Error e = {0};
    assert_int_equal(weights_fetch("resnet18", base, NULL, NULL, found, sizeof found, &e), BLEMISH_ERROR_FORMAT);
    assert_non_null(strstr(e.text, "/ok/resnet18-f37072fd.pth: sha256: found "));
    assert_non_null(strstr(e.text, "expected f37072fd...; the file was deleted"));
    size_t length;
    uint8_t *log = read_bytes(server_log, &length);
    assert_int_equal(length, strlen("/ok/resnet18-f37072fd.pth -\n"));
    free(log);
    assert_int_equal(weights_fetch("resnet34-b627a593.pth", base, NULL, NULL, found, sizeof found, &e),
                     BLEMISH_ERROR_NETWORK); /* 404 */
    assert_int_equal(weights_fetch("resnet101", base, NULL, NULL, found, sizeof found, &e), BLEMISH_ERROR_ARGUMENT);
    assert_non_null(strstr(e.text, "found 'resnet101', expected one of wide_resnet50_2, resnet50, resnet34, resnet18"));
    unsetenv("BLEMISH_WEIGHTS");
    unlink(wrong);
    assert_int_equal(rmdir(own), 0); /* nothing else was left behind */
    snprintf(own, sizeof own, "%s/a", folder);
    assert_int_equal(rmdir(own), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(whole_files_arrive, clean, clean),
        cmocka_unit_test_setup_teardown(partial_files_are_resumed, clean, clean),
        cmocka_unit_test_setup_teardown(servers_without_ranges_start_over, clean, clean),
        cmocka_unit_test_setup_teardown(overlong_parts_start_over, clean, clean),
        cmocka_unit_test_setup_teardown(complete_parts_need_no_server, clean, clean),
        cmocka_unit_test_setup_teardown(wrong_checksums_are_deleted, clean, clean),
        cmocka_unit_test_setup_teardown(truncated_downloads_are_kept_and_resumed, clean, clean),
        cmocka_unit_test_setup_teardown(files_over_the_limit_leave_nothing, clean, clean),
        cmocka_unit_test_setup_teardown(refused_requests_are_reported, clean, clean),
        cmocka_unit_test_setup_teardown(interrupted_downloads_are_kept_and_resumed, clean, clean),
        cmocka_unit_test_setup_teardown(full_disks_are_reported, clean, clean),
        cmocka_unit_test_setup_teardown(one_download_at_a_time, clean, clean),
        cmocka_unit_test_setup_teardown(known_weights_are_checked, clean, clean),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
