/* The log's rows through restarts, strange files and locales. */
#include "train/train_log.h"
#include "helper_image.h"
#include "helper_model.h"

#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char folder[PATH_SIZE], path[PATH_SIZE];

#define HEADER "epoch,loss,l1_good,l1_bad,focal_map,focal_score,gradient_norm,lr_factor,images_per_second,seconds\n"
#define ROW(n) #n ",1.500000,2.500000,3.500000,4.500000,5.500000,6.5000,0.4,8.50,9.50\n"

static int make_folder(void **state) {
    (void)state;
    folder_make(folder);
    path_in(path, folder, "log.csv");
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    folder_remove(folder);
    return 0;
}

/* Writes `before`, opens at an epoch, adds that epoch's row and compares the whole file. */
static void check(const char *before, size_t first_epoch, const char *after) {
    Error e = {0};
    TrainLog log;
    size_t size;
    file_write(path, before, strlen(before));
    assert_ok(train_log_open(&log, path, first_epoch, &e), e.text);
    const EpochFigures f = {first_epoch, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 0.4, 8.5, 9.5};
    assert_ok(train_log_row(&log, &f, &e), e.text);
    uint8_t *at_once = file_read(path, &size); /* a row is in the file as soon as its epoch ends */
    assert_int_equal(size, strlen(after));
    assert_memory_equal(at_once, after, size);
    free(at_once);
    assert_ok(train_log_close(&log, &e), e.text);
    assert_int_equal(folder_count(folder), 1);
}

static void rows_before_the_first_epoch_are_kept(void **state) {
    (void)state;
    check("", 0, HEADER ROW(1));
    check(HEADER ROW(1) ROW(2), 0, HEADER ROW(1));
    check(HEADER ROW(1) ROW(2), 2, HEADER ROW(1) ROW(2) ROW(3));
    check(HEADER ROW(1) ROW(2) ROW(3) ROW(4), 2, HEADER ROW(1) ROW(2) ROW(3));
    check(HEADER ROW(1) "2,1.5,cut", 1, HEADER ROW(1) ROW(2));
    check("", 4, HEADER ROW(5)); /* an emptied log is begun again */
}

static void strange_files_keep_nothing(void **state) {
    (void)state;
    check("path,label\n1,good\n", 3, HEADER ROW(4));
    check(HEADER "x,1\n-,2\n\n,,\n" ROW(1), 2, HEADER ROW(1) ROW(3));
    char longest[5000];
    memset(longest, '1', sizeof longest);
    longest[sizeof longest - 1] = 0;
    check(longest, 3, HEADER ROW(4));
}

static void what_is_no_file_is_refused(void **state) {
    (void)state;
    Error e = {0};
    TrainLog log;
    char pipe[PATH_SIZE];
    assert_int_equal(mkfifo(path_in(pipe, folder, "pipe"), 0600), 0);
    assert_true(train_log_open(&log, pipe, 2, &e) != BLEMISH_OK); /* and does not wait for a writer */
    assert_non_null(strstr(e.text, pipe));
    assert_true(train_log_open(&log, folder, 2, &e) != BLEMISH_OK);
    assert_non_null(strstr(e.text, folder));
    assert_int_equal(remove(pipe), 0);
}

static void no_path_is_no_log(void **state) {
    (void)state;
    Error e = {0};
    TrainLog log;
    assert_ok(train_log_open(&log, NULL, 0, &e), e.text);
    assert_ok(train_log_row(&log, &(EpochFigures){0}, &e), e.text);
    assert_ok(train_log_close(&log, &e), e.text);
}

static void a_full_disk_is_reported(void **state) {
    (void)state;
    Error e = {0};
    TrainLog log = {.file = fopen("/dev/full", "w"), .path = "/dev/full"};
    if (log.file == NULL) skip();
    assert_int_equal(train_log_row(&log, &(EpochFigures){0}, &e), BLEMISH_ERROR_IO);
    assert_non_null(strstr(e.text, "/dev/full"));
    fclose(log.file);
}

static void numbers_have_points_in_every_locale(void **state) {
    (void)state;
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "sl_SI.UTF-8", "sv_SE.UTF-8"};
    const char *found = NULL;
    for (size_t i = 0; i < 5 && !found; i++) found = setlocale(LC_NUMERIC, names[i]);
    if (!found) {
        print_message("no locale with a decimal comma is installed\n");
        skip();
    }
    check("", 0, HEADER ROW(1));
    assert_string_equal(localeconv()->decimal_point, ",");
    setlocale(LC_NUMERIC, "C");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_before_the_first_epoch_are_kept),
        cmocka_unit_test(strange_files_keep_nothing),
        cmocka_unit_test(what_is_no_file_is_refused),
        cmocka_unit_test(no_path_is_no_log),
        cmocka_unit_test(a_full_disk_is_reported),
        cmocka_unit_test(numbers_have_points_in_every_locale),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
