/* blemish_dataset_check: every problem is found where it is, and nowhere else. */
#include "helper_folder.h"
#include "helper_image.h"
#include "helper_layouts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static BlemishDataset *open_set(const char *name, bool tolerant) {
    char path[PATH_SIZE];
    BlemishDatasetSettings settings;
    BlemishDataset *d;
    blemish_dataset_defaults(&settings);
    settings.tolerant = tolerant;
    assert_ok(blemish_dataset_open(&d, *name ? path_in(path, folder, name) : folder, &settings),
              blemish_dataset_error(d));
    return d;
}

static BlemishDataReport check(BlemishDataset *d) {
    BlemishDataReport report;
    assert_ok(blemish_dataset_check(d, &report, NULL, NULL), blemish_dataset_error(d));
    size_t sum = 0;
    for (int kind = 0; kind < BLEMISH_PROBLEM_KINDS; kind++) sum += report.problem_counts[kind];
    assert_int_equal(sum, report.problem_count);
    for (size_t i = 1; i < report.problem_count; i++)
        assert_true(report.problems[i - 1].kind <= report.problems[i].kind);
    return report;
}

/* Exactly one problem of the kind begins with the path below the folder and holds the rest. */
static void expect_problem(const BlemishDataReport *r, BlemishProblemKind kind, const char *path, const char *rest) {
    char start[PATH_SIZE];
    size_t found = 0;
    path_in(start, folder, path);
    for (size_t i = 0; i < r->problem_count; i++)
        found += r->problems[i].kind == kind && !strncmp(r->problems[i].text, start, strlen(start)) &&
                 strstr(r->problems[i].text, rest);
    if (found != 1) {
        for (size_t i = 0; i < r->problem_count; i++)
            print_message("%s %s\n", blemish_problem_name(r->problems[i].kind), r->problems[i].text);
        fail_msg("%zu problems %s \"%s ... %s\"", found, blemish_problem_name(kind), path, rest);
    }
}

static void sound_fixtures_have_no_problem(void **state) {
    (void)state;
    const Fixture *f;
    for (size_t i = 0; (f = fixture_at(i)); i++) {
        folder_make(folder);
        f->write(folder);
        BlemishDataset *d = open_set(f->path, true);
        BlemishDataReport r = check(d);
        if (r.problem_count) fail_msg("%s: %s", f->name, r.problems[0].text);
        size_t images = 0, types[3] = {0}, masks = 0;
        for (size_t k = 0; k < blemish_dataset_count(d); k++) {
            BlemishSample s = blemish_dataset_sample(d, k);
            images++;
            types[s.label + 1]++;
            masks += s.mask_path != NULL;
        }
        assert_int_equal(r.images[0] + r.images[1], images);
        assert_int_equal(r.unknown[0] + r.unknown[1], types[0]);
        assert_int_equal(r.good[0] + r.good[1], types[1]);
        assert_int_equal(r.defects[0] + r.defects[1], types[2]);
        assert_int_equal(r.masks[0] + r.masks[1], masks);
        assert_int_equal(r.score_only[0] + r.score_only[1], types[2] - masks);
        assert_int_equal(r.size_count, 1);
        assert_int_equal(r.sizes[0].width, FIXTURE_WIDTH);
        assert_int_equal(r.sizes[0].height, FIXTURE_HEIGHT);
        assert_int_equal(r.sizes[0].count, images);
        blemish_dataset_close(d);
        folder_remove(folder);
    }
}

static void copy(const char *from, const char *to) {
    char path[PATH_SIZE];
    size_t size;
    uint8_t *bytes = file_read(path_in(path, folder, from), &size);
    put_bytes(folder, to, bytes, size);
    free(bytes);
}

static void put_sized(const char *name, size_t width, size_t height, uint8_t value) {
    char path[PATH_SIZE];
    Error e = {0};
    BlemishImage mask;
    assert_ok(image_new(&mask, width, height, 1, &e), e.text);
    memset(image_pixels(&mask), value, width * height);
    assert_ok(image_write_png(&mask, path_in(path, folder, name), &e), e.text);
    image_free(&mask);
}

static void every_problem_is_found(void **state) {
    (void)state;
    for (char name[] = "a.png"; *name <= 'j'; ++*name) put_picture(folder, name, false);
    copy("a.png", "a2.png"); /* the same split */
    copy("b.png", "b2.png"); /* the other one */
    put_text(folder, "torn.png", "%s", "\x89PNG\r\n\x1a\n");
    put_text(folder, "torn2.png", "%s", "\x89PNG\r\n\x1a\n"); /* not an image, so not an image that is there twice */
    put_mask(folder, "black.png", false);
    put_mask(folder, "square.png", true);
    put_text(folder, "broken.png", "?");
    put_sized("small.png", 20, 18, 255);
    put_sized("large.png", 80, 80, 0);
    put_text(folder, "box.txt", "0 0.5 0.5 0.1 0.1\n");
    put_text(folder, "list.csv",
             "path,label,mask,split\n"
             "a.png,good,,train\na2.png,good,,train\nb.png,good,,train\nb2.png,good,,test\n"
             "torn.png,good,,train\ntorn2.png,good,,test\nmissing.png,good,,train\n"
             "c.png,defect,black.png,train\nd.png,good,square.png,train\ne.png,good,black.png,train\n"
             "f.png,defect,broken.png,train\ng.png,defect,small.png,train\nh.png,defect,nowhere.png,test\n"
             "i.png,good,large.png,test\nj.png,,box.txt,test\nd.png,good,,train\n");
    BlemishDataset *d = open_set("list.csv", true);
    BlemishDataReport r = check(d);
    expect_problem(&r, BLEMISH_PROBLEM_IMAGE_UNREADABLE, "torn.png", "PNG");
    expect_problem(&r, BLEMISH_PROBLEM_IMAGE_UNREADABLE, "torn2.png", "PNG");
    expect_problem(&r, BLEMISH_PROBLEM_IMAGE_UNREADABLE, "list.csv", "line 8: path: found ");
    expect_problem(&r, BLEMISH_PROBLEM_MASK_UNREADABLE, "broken.png", "content");
    expect_problem(&r, BLEMISH_PROBLEM_MASK_UNREADABLE, "list.csv", "line 14: mask: found ");
    expect_problem(&r, BLEMISH_PROBLEM_MASK_UNREADABLE, "box.txt", "line 1: found a box");
    expect_problem(&r, BLEMISH_PROBLEM_MASK_EMPTY, "c.png", "black.png, expected the defect; only the label is used");
    expect_problem(&r, BLEMISH_PROBLEM_MASK_OF_GOOD, "d.png", "square.png); the mask is not used");
    expect_problem(&r, BLEMISH_PROBLEM_MASK_SIZE, "g.png", "found a mask of 20 x 18");
    expect_problem(&r, BLEMISH_PROBLEM_MASK_SIZE, "i.png", "found a mask of 80 x 80");
    expect_problem(&r, BLEMISH_PROBLEM_REPEATED, "a2.png", "a.png of the training split, expected each image once");
    expect_problem(&r, BLEMISH_PROBLEM_REPEATED, "d.png", "d.png of the training split");
    expect_problem(&r, BLEMISH_PROBLEM_LEAKED, "b2.png", "b.png of the training split, expected each image in one");
    assert_int_equal(r.problem_count, 13);
    assert_int_equal(r.images[0] + r.images[1], 15); /* without the missing one */
    assert_int_equal(r.defects[0] + r.defects[1], 5);
    assert_int_equal(r.masks[0], 1);
    assert_int_equal(r.score_only[0], 2);
    assert_int_equal(r.score_only[1], 2);
    r = check(d); /* again, from the beginning */
    assert_int_equal(r.problem_count, 13);
    blemish_dataset_close(d);

    BlemishDatasetSettings settings; /* whoever trains is told at once */
    char path[PATH_SIZE];
    blemish_dataset_defaults(&settings);
    assert_int_equal(blemish_dataset_open(&d, path_in(path, folder, "list.csv"), &settings), BLEMISH_ERROR_FORMAT);
    assert_non_null(strstr(blemish_dataset_error(d), "line 8: path: found "));
    BlemishDataReport report;
    assert_int_equal(blemish_dataset_check(d, &report, NULL, NULL), BLEMISH_ERROR_ARGUMENT);
    blemish_dataset_close(d);
    assert_int_equal(blemish_dataset_check(NULL, &report, NULL, NULL), BLEMISH_ERROR_ARGUMENT);
}

/* What a file name holds cannot make a second line. */
static void problems_are_one_line_each(void **state) {
    (void)state;
    put_picture(folder, "good/a.png", false);
    put_text(folder, "good/b\n\x1b[31m.png", "?");
    BlemishDataset *d = open_set("", true);
    BlemishDataReport r = check(d);
    assert_int_equal(r.problem_count, 1);
    assert_non_null(strstr(r.problems[0].text, "b??[31m.png"));
    assert_null(strpbrk(r.problems[0].text, "\n\x1b"));
    blemish_dataset_close(d);
}

static void sizes_are_the_most_frequent_first(void **state) {
    (void)state;
    char path[PATH_SIZE];
    assert_int_equal(mkdir(path_in(path, folder, "good"), 0777), 0);
    put_sized("good/1.png", 7, 9, 1);
    put_sized("good/2.png", 30, 9, 2);
    put_sized("good/3.png", 30, 9, 3);
    put_sized("good/4.png", 7, 4, 4);
    BlemishDataset *d = open_set("", true);
    BlemishDataReport r = check(d);
    static const BlemishSizeCount expected[] = {{30, 9, 2}, {7, 4, 1}, {7, 9, 1}};
    assert_int_equal(r.size_count, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(r.sizes[i].width, expected[i].width);
        assert_int_equal(r.sizes[i].height, expected[i].height);
        assert_int_equal(r.sizes[i].count, expected[i].count);
    }
    blemish_dataset_close(d);
}

/* Defects' masks alone count, and only those that can be read: drawn for a size, too. */
static void resized_masks_are_counted(void **state) {
    (void)state;
    static const char labelme[] =
        "{\"shapes\": [{\"points\": [[1, 1], [9, 1], [9, 9]], \"shape_type\": \"polygon\"}], \"imageWidth\": %d, "
        "\"imageHeight\": 36}";
    for (char name[] = "a.png"; *name <= 'h'; ++*name) put_picture(folder, name, true);
    put_mask(folder, "square.png", true);
    put_sized("small.png", 20, 18, 255);
    put_sized("black.png", 20, 18, 0);
    put_text(folder, "broken.png", "?");
    put_text(folder, "same.json", labelme, FIXTURE_WIDTH);
    put_text(folder, "wide.json", labelme, 2 * FIXTURE_WIDTH);
    put_text(folder, "list.csv",
             "path,label,mask,split\n"
             "a.png,defect,square.png,train\nb.png,defect,same.json,train\nc.png,defect,black.png,train\n"
             "d.png,defect,broken.png,train\ne.png,good,small.png,train\nf.png,defect,small.png,train\n"
             "g.png,,wide.json,train\nh.png,defect,small.png,test\n");
    BlemishDataset *d = open_set("list.csv", false);
    const size_t counts[2] = {2, 1};
    const char *const first_names[2] = {"f.png", "h.png"};
    for (int split = 0; split < 2; split++) {
        size_t count, first;
        char path[PATH_SIZE];
        assert_ok(blemish_dataset_resized_masks(d, (BlemishSplit)split, &count, &first), blemish_dataset_error(d));
        assert_int_equal(count, counts[split]);
        assert_string_equal(blemish_dataset_sample(d, first).path, path_in(path, folder, first_names[split]));
    }
    size_t count;
    assert_int_equal(blemish_dataset_resized_masks(d, BLEMISH_SPLIT_TEST, &count, NULL), BLEMISH_ERROR_ARGUMENT);
    blemish_dataset_close(d);
}

/* MVTec LOCO's are in no split: told, and neither trained nor tested on. */
static void validation_images_are_told(void **state) {
    (void)state;
    fixture_named("loco")->write(folder);
    put_picture(folder, "validation/good/001.bmp", false);
    put_text(folder, "validation/good/notes.txt", "?");
    BlemishDataset *d = open_set("", true);
    BlemishDataReport r = check(d);
    assert_int_equal(r.validation, 2);
    assert_int_equal(r.images[0] + r.images[1], 4);
    assert_int_equal(r.problem_count, 0);
    blemish_dataset_close(d);
}

static int stop_at_two(void *user, const BlemishProgress *p) {
    (void)user;
    assert_string_equal(p->stage, "check");
    return p->done == 2;
}

static void a_check_can_be_stopped(void **state) {
    (void)state;
    fixture_named("mvtec")->write(folder);
    BlemishDataset *d = open_set("", true);
    BlemishDataReport r;
    assert_int_equal(blemish_dataset_check(d, &r, stop_at_two, NULL), BLEMISH_ERROR_INTERRUPTED);
    assert_string_equal(blemish_dataset_error(d), "check: stopped after 2 of 4 images");
    assert_int_equal(r.problem_count, 0);
    check(d);
    blemish_dataset_close(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sound_fixtures_have_no_problem),
        cmocka_unit_test_setup_teardown(every_problem_is_found, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(problems_are_one_line_each, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(sizes_are_the_most_frequent_first, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(resized_masks_are_counted, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(validation_images_are_told, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(a_check_can_be_stopped, open_folder, close_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
