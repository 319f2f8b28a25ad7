#include "data/synth.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[64];
static const BlemishDatasetSettings defaults = {.layout = "auto", .test_fraction = 0.4, .mask_count = -1, .mask_ratio = 1};

static int remove_entry(const char *path, const struct stat *s, int kind, struct FTW *where) {
    (void)s, (void)kind, (void)where;
    return remove(path);
}

static int set_up(void **state) {
    (void)state;
    strcpy(root, "/tmp/test_synth.XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    return nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static const char *at(const char *name) {
    static char path[4][256];
    static unsigned turn;
    char *p = path[turn++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", root, name);
    return p;
}

static BlemishSynthSettings small(uint64_t seed, size_t width, size_t height) {
    return (BlemishSynthSettings){.width = width,
                                  .height = height,
                                  .train_good = 2,
                                  .train_defect = 5,
                                  .test_good = 1,
                                  .test_defect = 6,
                                  .seed = seed,
                                  .programs = 1};
}

static void make(const char *name, BlemishSynthSettings settings, Manifest *m) {
    Error e = {0};
    if (synth_write(at(name), &settings, &e) != BLEMISH_OK) fail_msg("%s", e.text);
    if (manifest_open(m, at(name), &defaults, &e) != BLEMISH_OK) fail_msg("%s", e.text);
}

static void fingerprint_of(const char *name, BlemishSynthSettings settings, char hex[65]) {
    Error e = {0};
    Manifest m;
    make(name, settings, &m);
    assert_int_equal(manifest_fingerprint(&m, hex, &e), BLEMISH_OK);
    manifest_close(&m);
}

static size_t mask_area(const char *path, size_t width, size_t height) {
    Error e = {0};
    BlemishImage mask;
    size_t area = 0;
    if (image_decode_mask(&mask, path, &e) != BLEMISH_OK) fail_msg("%s", e.text);
    assert_int_equal(mask.width, width);
    assert_int_equal(mask.height, height);
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++) area += mask.data[y * mask.stride + x];
    image_free(&mask);
    return area;
}

/* The layout is one that our own reader takes, with every defect masked, at every size and on every surface. */
static void sets_are_whole_at_any_size(void **state) {
    (void)state;
    const size_t sizes[][2] = {{32, 32}, {33, 47}, {120, 32}, {64, 97}};
    for (uint64_t seed = 0; seed < 12; seed++) {
        char name[16];
        snprintf(name, sizeof name, "%d", (int)seed);
        size_t width = sizes[seed % 4][0], height = sizes[seed / 4 % 4][1], counts[2][2] = {{0}};
        Manifest m;
        make(name, small(seed, width, height), &m);
        assert_string_equal(m.layout, "mvtec");
        for (size_t i = 0; i < m.count; i++) {
            const Sample *s = &m.samples[i];
            Error e = {0};
            size_t w, h;
            assert_int_equal(image_probe(s->path, &w, &h, &e), BLEMISH_OK);
            assert_true(w == width && h == height);
            counts[s->split][s->label]++;
            assert_int_equal(s->mask_path != NULL, s->label == BLEMISH_LABEL_DEFECT);
            if (s->mask_path) {
                size_t area = mask_area(s->mask_path, width, height);
                assert_true(area > 0 && area < width * height / 2);
            }
        }
        assert_int_equal(counts[0][0], 2);
        assert_int_equal(counts[0][1], 5);
        assert_int_equal(counts[1][0], 1);
        assert_int_equal(counts[1][1], 6);
        manifest_close(&m);
    }
}

/* On a flat grey canvas every change is the defect's: outside the mask there is at most its soft edge (masks
 * begin at 0.4 cover, the faintest scratch has 0.75: 0.54 of the strongest change), inside there is plainly something.
 */
static void masks_are_where_the_surface_changed(void **state) {
    (void)state;
    enum { SIDE = 160, PIXELS = SIDE * SIDE };
    static float rgb[3 * PIXELS], core[PIXELS], rim[PIXELS];
    static uint8_t mask[PIXELS];
    Canvas canvas = {
        .width = SIDE, .height = SIDE, .unit = SIDE / 256.0f, .rgb = rgb, .core = core, .rim = rim, .mask = mask};
    for (size_t type = 0; type < DEFECT_TYPES; type++)
        for (uint64_t round = 0; round < 60; round++) {
            Random r = random_new(round, type);
            for (size_t i = 0; i < 3 * PIXELS; i++) rgb[i] = 0.5f;
            defect_paint(&canvas, type, &r);
            double strongest = 0, outside = 0, inside = 0;
            size_t area = 0;
            for (size_t i = 0; i < PIXELS; i++) {
                double change = fabs((double)rgb[3 * i + 1] - 0.5);
                strongest = fmax(strongest, change);
                if (mask[i] == 0) outside = fmax(outside, change);
                if (mask[i]) inside += change;
                area += mask[i] != 0;
                assert_true(mask[i] == 0 || mask[i] == 255);
            }
            assert_true(area > 0 && area < PIXELS / 4);
            assert_true(strongest > 0.08);
            assert_true(outside <= 0.55 * strongest);
            assert_true(inside / (double)area > 0.35 * strongest);
        }
}

/* Neither black, white, flat nor mostly noise, and never twice the same. */
static void surfaces_are_textured(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 8; seed++) {
        char name[16];
        snprintf(name, sizeof name, "%d", (int)seed);
        BlemishSynthSettings s = {.width = 96, .height = 80, .train_good = 3, .seed = seed, .programs = 1};
        Error e = {0};
        assert_int_equal(synth_write(at(name), &s, &e), BLEMISH_OK);
        BlemishImage image[3];
        for (size_t i = 0; i < 3; i++) {
            char file[64];
            snprintf(file, sizeof file, "%s/train/good/%03zu.png", name, i);
            assert_int_equal(image_decode(&image[i], at(file), &e), BLEMISH_OK);
            double sum = 0, square = 0, n = 96 * 80 * 3;
            for (size_t k = 0; k < 96 * 80 * 3; k++) {
                sum += image[i].data[k];
                square += (double)image[i].data[k] * image[i].data[k];
            }
            double mean = sum / n, deviation = sqrt(square / n - mean * mean);
            assert_true(mean > 40 && mean < 215 && deviation > 5 && deviation < 60);
            if (i > 0) assert_memory_not_equal(image[i].data, image[i - 1].data, 96 * 80 * 3);
        }
        for (size_t i = 0; i < 3; i++) image_free(&image[i]);
    }
}

static void the_seed_decides_everything(void **state) {
    (void)state;
    char a[65], b[65], c[65];
    fingerprint_of("a", small(1, 48, 40), a);
    fingerprint_of("nested/folders/b", small(1, 48, 40), b);
    fingerprint_of("c", small(5, 48, 40), c); /* the same family of surfaces */
    assert_string_equal(a, b);
    assert_string_not_equal(a, c);
    /* An image does not depend on how many others there are. */
    BlemishSynthSettings more = small(1, 48, 40);
    more.train_good = 3;
    Error e = {0};
    assert_int_equal(synth_write(at("more"), &more, &e), BLEMISH_OK);
    BlemishImage one, two;
    assert_int_equal(image_decode(&one, at("a/test/good/000.png"), &e), BLEMISH_OK);
    assert_int_equal(image_decode(&two, at("more/test/good/000.png"), &e), BLEMISH_OK);
    assert_memory_equal(one.data, two.data, 48 * 40 * 3);
    image_free(&one);
    image_free(&two);
}

static void refuse(const char *name, BlemishSynthSettings settings, BlemishStatus status, const char *part) {
    Error e = {0};
    assert_int_equal(synth_write(at(name), &settings, &e), status);
    if (!strstr(e.text, part)) fail_msg("\"%s\" does not hold \"%s\"", e.text, part);
}

static void impossible_requests_are_refused(void **state) {
    (void)state;
    refuse("new", small(1, 31, 64), BLEMISH_ERROR_ARGUMENT, "size: found 31 x 64");
    refuse("new", small(1, 64, SIZE_MAX), BLEMISH_ERROR_ARGUMENT, "size");
    BlemishSynthSettings s = small(1, 32, 32);
    s.test_good = SIZE_MAX;
    refuse("new", s, BLEMISH_ERROR_ARGUMENT, "images");
    s.test_good = s.train_good = 0;
    refuse("new", s, BLEMISH_ERROR_ARGUMENT, "train_good: found 0");
    assert_int_equal(access(at("new"), F_OK), -1); /* refused before anything is made */
    s = small(1, 32, 32);
    assert_int_equal(mkdir(at("empty"), 0777), 0);
    Error e = {0};
    assert_int_equal(synth_write(at("empty"), &s, &e), BLEMISH_OK);
    refuse("empty", s, BLEMISH_ERROR_ARGUMENT, "expected an empty folder");
    fclose(fopen(at("file"), "w"));
    refuse("file", s, BLEMISH_ERROR_IO, "file");
    refuse("file/inside", s, BLEMISH_ERROR_IO, "file");
}

typedef struct Watch {
    size_t calls, stop_at, total;
} Watch;

static int watch(void *user, const BlemishProgress *p) {
    Watch *w = user;
    assert_string_equal(p->stage, "synth");
    assert_int_equal(p->done, w->calls);
    assert_true(isnan(p->loss));
    w->total = p->total;
    return w->calls++ == w->stop_at;
}

static int every_file_is_whole(const char *path, const struct stat *s, int kind, struct FTW *where) {
    (void)s, (void)where;
    Error e = {0};
    BlemishImage image;
    if (kind != FTW_F) return 0;
    assert_int_equal(image_decode(&image, path, &e), BLEMISH_OK); /* no half image, no temporary file */
    image_free(&image);
    return 0;
}

static void progress_is_told_and_can_stop(void **state) {
    (void)state;
    BlemishSynthSettings s = small(2, 32, 32);
    Watch w = {.stop_at = SIZE_MAX};
    s.progress = watch;
    s.progress_user = &w;
    Error e = {0};
    assert_int_equal(synth_write(at("whole"), &s, &e), BLEMISH_OK);
    assert_int_equal(w.total, 14);
    assert_int_equal(w.calls, 15);
    for (size_t stop = 0; stop < 14; stop += 4) {
        char name[16];
        snprintf(name, sizeof name, "stop%d", (int)stop);
        w = (Watch){.stop_at = stop};
        refuse(name, s, BLEMISH_ERROR_INTERRUPTED, "stopped after");
        assert_int_equal(w.calls, stop + 1);
        assert_int_equal(nftw(at(name), every_file_is_whole, 16, FTW_PHYS), 0);
        Manifest m;
        if (stop == 0) continue;
        assert_int_equal(manifest_open(&m, at(name), &defaults, &e), BLEMISH_OK);
        assert_int_equal(m.count, stop);
        manifest_close(&m);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sets_are_whole_at_any_size, set_up, tear_down),
        cmocka_unit_test(masks_are_where_the_surface_changed),
        cmocka_unit_test_setup_teardown(surfaces_are_textured, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_seed_decides_everything, set_up, tear_down),
        cmocka_unit_test_setup_teardown(impossible_requests_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(progress_is_told_and_can_stop, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
