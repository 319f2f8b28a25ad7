#include "base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64], path[96];

static int setup(void **state) {
    (void)state;
    strcpy(folder, "/tmp/blemish-test-XXXXXX");
    if (mkdtemp(folder) == NULL) return -1;
    snprintf(path, sizeof path, "%s/file", folder);
    return 0;
}

static size_t entries(void) {
    DIR *d = opendir(folder);
    assert_non_null(d);
    size_t n = 0;
    for (struct dirent *entry; (entry = readdir(d)) != NULL;) n += entry->d_name[0] != '.' || strlen(entry->d_name) > 2;
    closedir(d);
    return n;
}

static int teardown(void **state) {
    (void)state;
    unlink(path);
    return rmdir(folder); /* fails, and the test with it, where a temporary file was left */
}

static void assert_content(const char *expected) {
    char found[64] = {0};
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fread(found, 1, sizeof found - 1, f), strlen(expected));
    fclose(f);
    assert_string_equal(found, expected);
}

static void file_appears_only_at_commit(void **state) {
    (void)state;
    Error e = {0};
    assert_int_equal(atomic_write_file(path, "old", 3, &e), BLEMISH_OK);
    assert_content("old");
    AtomicFile f;
    assert_int_equal(atomic_open(&f, path, &e), BLEMISH_OK);
    assert_int_equal(atomic_write(&f, "new text", 8, &e), BLEMISH_OK);
    assert_content("old");
    assert_int_equal(entries(), 2);
    assert_int_equal(atomic_commit(&f, &e), BLEMISH_OK);
    assert_content("new text");
    assert_int_equal(entries(), 1);
    atomic_abandon(&f); /* harmless after commit */
    assert_content("new text");
}

static void abandon_leaves_the_old_file(void **state) {
    (void)state;
    Error e = {0};
    assert_int_equal(atomic_write_file(path, "old", 3, &e), BLEMISH_OK);
    AtomicFile f;
    assert_int_equal(atomic_open(&f, path, &e), BLEMISH_OK);
    assert_int_equal(atomic_write(&f, "new", 3, &e), BLEMISH_OK);
    atomic_abandon(&f);
    assert_content("old");
    assert_int_equal(entries(), 1);
}

static void permissions_follow_the_umask(void **state) {
    (void)state;
    Error e = {0};
    mode_t old = umask(027);
    assert_int_equal(atomic_write_file(path, "x", 1, &e), BLEMISH_OK);
    umask(old);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0640);
}

static void links_are_followed(void **state) {
    (void)state;
    Error e = {0};
    char link[96];
    snprintf(link, sizeof link, "%s/link", folder);
    assert_int_equal(atomic_write_file(path, "x", 1, &e), BLEMISH_OK);
    assert_int_equal(symlink("file", link), 0);
    assert_int_equal(atomic_write_file(link, "through", 7, &e), BLEMISH_OK);
    assert_content("through");
    struct stat info;
    assert_int_equal(lstat(link, &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    unlink(link);
}

static void links_to_nothing_are_refused_and_kept(void **state) {
    (void)state;
    Error e = {0};
    assert_int_equal(symlink("missing", path), 0);
    assert_int_equal(atomic_write_file(path, "x", 1, &e), BLEMISH_ERROR_IO);
    assert_non_null(strstr(e.text, "/file: found a symbolic link to no file"));
    struct stat info;
    assert_int_equal(lstat(path, &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    assert_int_equal(entries(), 1);
}

static void bad_places_are_refused(void **state) {
    (void)state;
    Error e = {0};
    char missing[128];
    snprintf(missing, sizeof missing, "%s/none/file", folder);
    AtomicFile f;
    assert_int_equal(atomic_open(&f, missing, &e), BLEMISH_ERROR_IO);
    assert_non_null(strstr(e.text, missing));
    assert_null(f.file);
    atomic_abandon(&f); /* harmless after a failed open */
    assert_int_equal(atomic_write_file(folder, "x", 1, &e), BLEMISH_ERROR_IO);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(atomic_write_file(path, "x", 1, &e), BLEMISH_ERROR_IO);
    assert_non_null(strstr(e.text, "regular file"));
    assert_int_equal(entries(), 1);
}

/* A file-size limit fails as a full disk does: in the middle of write(2). */
static void full_disk_leaves_nothing(void **state) {
    (void)state;
    Error e = {0};
    assert_int_equal(atomic_write_file(path, "old", 3, &e), BLEMISH_OK);
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit before, limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 10000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    static char bytes[1 << 20];
    BlemishStatus large = atomic_write_file(path, bytes, sizeof bytes, &e); /* fails in write */
    size_t after_large = entries();
    /* Small enough for stdio's buffer or not, the failure is seen at commit at the latest. */
    AtomicFile f;
    BlemishStatus opened = atomic_open(&f, path, &e), committed = BLEMISH_OK;
    if (opened == BLEMISH_OK) {
        for (int i = 0; i < 11; i++) (void)atomic_write(&f, bytes, 1000, &e);
        committed = atomic_commit(&f, &e);
    }
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(large, BLEMISH_ERROR_IO);
    assert_int_equal(after_large, 1);
    assert_int_equal(opened, BLEMISH_OK);
    assert_int_equal(committed, BLEMISH_ERROR_IO);
    assert_non_null(strstr(e.text, path));
    assert_null(f.file);
    assert_int_equal(entries(), 1);
    assert_content("old");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(file_appears_only_at_commit, setup, teardown),
        cmocka_unit_test_setup_teardown(abandon_leaves_the_old_file, setup, teardown),
        cmocka_unit_test_setup_teardown(permissions_follow_the_umask, setup, teardown),
        cmocka_unit_test_setup_teardown(links_are_followed, setup, teardown),
        cmocka_unit_test_setup_teardown(links_to_nothing_are_refused_and_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_places_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(full_disk_leaves_nothing, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
