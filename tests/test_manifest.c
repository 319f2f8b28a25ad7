#include "data/data.h"

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
#define ALL_MASKS .mask_count = -1, .mask_ratio = 1
static const BlemishDatasetSettings defaults = {ALL_MASKS, .layout = "auto", .test_fraction = 0.4};

static int remove_entry(const char *path, const struct stat *s, int kind, struct FTW *where) {
    (void)s, (void)kind, (void)where;
    return remove(path);
}

static int set_up(void **state) {
    (void)state;
    strcpy(root, "/tmp/test_manifest.XXXXXX");
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

/* Writes root/name, making its folders. */
static void put_bytes(const char *name, const void *bytes, size_t length) {
    char path[256];
    snprintf(path, sizeof path, "%s", at(name));
    for (char *c = path + strlen(root) + 1; *c; c++)
        if (*c == '/') {
            *c = 0;
            mkdir(path, 0777);
            *c = '/';
        }
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    if (length) assert_int_equal(fwrite(bytes, 1, length, f), length);
    fclose(f);
}

static void put(const char *name) {
    put_bytes(name, name, strlen(name));
}
static void put_text(const char *name, const char *text) {
    put_bytes(name, text, strlen(text));
}

/* One line a sample: path relative to root, label, split, type, mask. */
static void describe(const Manifest *m, char *out, size_t size) {
    size_t used = 0, skip = strlen(root) + 1;
    out[0] = 0;
    for (size_t i = 0; i < m->count; i++) {
        const Sample *s = &m->samples[i];
        used += (size_t)snprintf(out + used, size - used, "%s %d %d %s %s\n", s->path + skip, s->label, s->split,
                                 s->type, s->mask_path ? s->mask_path + skip : "-");
        assert_true(used < size);
    }
}

static void expect(const char *path, const BlemishDatasetSettings *settings, const char *layout, const char *text) {
    Error e = {0};
    Manifest m;
    char found[4096];
    if (manifest_open(&m, at(path), settings, &e) != BLEMISH_OK) fail_msg("%s", e.text);
    assert_string_equal(m.layout, layout);
    describe(&m, found, sizeof found);
    assert_string_equal(found, text);
    manifest_close(&m);
}

static void refuse(const char *path, const BlemishDatasetSettings *settings, BlemishStatus status, const char *part) {
    Error e = {0};
    Manifest m;
    assert_int_equal(manifest_open(&m, at(path), settings, &e), status);
    assert_null(m.samples);
    if (!strstr(e.text, part)) fail_msg("\"%s\" does not hold \"%s\"", e.text, part);
}

static void mvtec_with_training_defects(void **state) {
    (void)state;
    put("bottle/train/good/001.png");
    put("bottle/train/good/000.PNG");
    put("bottle/train/good/.hidden.png");
    put("bottle/train/good/notes.txt");
    put("bottle/train/crack/train_000.png");
    put("bottle/test/good/000.png");
    put("bottle/test/crack/000.png");
    put("bottle/test/crack/001.tiff");
    put("bottle/ground_truth/crack/train_000_mask.png");
    put("bottle/ground_truth/crack/000_mask.png");
    put("bottle/license.txt");
    const char *all = "bottle/test/crack/000.png 1 1 crack bottle/ground_truth/crack/000_mask.png\n"
                      "bottle/test/crack/001.tiff 1 1 crack -\n"
                      "bottle/test/good/000.png 0 1 good -\n"
                      "bottle/train/crack/train_000.png 1 0 crack bottle/ground_truth/crack/train_000_mask.png\n"
                      "bottle/train/good/000.PNG 0 0 good -\n"
                      "bottle/train/good/001.png 0 0 good -\n";
    expect("bottle", &defaults, "mvtec", all);
    expect("bottle//", &defaults, "mvtec", all);
    expect("", &defaults, "mvtec", all); /* the only category */
    expect("", &(BlemishDatasetSettings){ALL_MASKS, .layout = "mvtec", .category = "bottle"}, "mvtec", all);
    refuse("", &(BlemishDatasetSettings){ALL_MASKS, .category = "nut"}, BLEMISH_ERROR_IO, "nut: No such file");
    refuse("bottle", &(BlemishDatasetSettings){ALL_MASKS, .layout = "vista"}, BLEMISH_ERROR_ARGUMENT,
           "layout: found \"vista\", expected auto, mvtec, visa, ksdd2, sensum, magnetic-tile, folder, csv");
    refuse("bottle", &(BlemishDatasetSettings){ALL_MASKS, .layout = "magnetic-tile"}, BLEMISH_ERROR_FORMAT,
           "expected MT_*/Imgs (magnetic-tile)");
    put("cable/train/good/000.png");
    refuse("", &defaults, BLEMISH_ERROR_ARGUMENT, "category: found bottle, cable");
    put("bottle/train/crack/000.png"); /* test/crack/000.png has the mask of that name */
    refuse("bottle", &defaults, BLEMISH_ERROR_FORMAT, "train/crack/000.png: name");
    put("cable/test/logical/000.png");
    put("cable/ground_truth/logical/000/000.png");
    put("cable/ground_truth/logical/000/001.png");
    expect("cable", &defaults, "mvtec",
           "cable/test/logical/000.png 1 1 logical cable/ground_truth/logical/000\n"
           "cable/train/good/000.png 0 0 good -\n");
}

static void btad_names(void **state) {
    (void)state;
    put("train/ok/0.png");
    put("test/ko/1.bmp.png");
    put("ground_truth/ko/1.bmp.PNG");
    expect("", &defaults, "mvtec", "test/ko/1.bmp.png 1 1 ko ground_truth/ko/1.bmp.PNG\ntrain/ok/0.png 0 0 good -\n");
}

static void symbolic_links_are_followed(void **state) {
    (void)state;
    put("elsewhere/a.png");
    put("set/good/b.png");
    assert_int_equal(symlink(at("elsewhere"), at("set/defect")), 0);
    assert_int_equal(symlink(at("elsewhere/a.png"), at("set/good/c.jpg")), 0);
    expect("set", &(BlemishDatasetSettings){ALL_MASKS, .test_fraction = 0}, "folder",
           "set/defect/a.png 1 0 defect -\nset/good/b.png 0 0 good -\nset/good/c.jpg 0 0 good -\n");
    assert_int_equal(symlink(at("nowhere.png"), at("set/good/d.png")), 0);
    refuse("set", &defaults, BLEMISH_ERROR_IO, "d.png: No such file");
    assert_int_equal(symlink(at("loop"), at("loop")), 0);
    refuse("loop", &defaults, BLEMISH_ERROR_IO, "loop: ");
}

static void folder_with_masks(void **state) {
    (void)state;
    put("good/1.png");
    put("good/2.jpeg");
    put("defect/1.jpg");
    put("defect/2.JPG");
    put("defect/3.tif");
    put("masks/1.png");
    put("masks/2_mask.TIFF");
    const char *train = "defect/1.jpg 1 0 defect masks/1.png\ndefect/2.JPG 1 0 defect masks/2_mask.TIFF\n"
                        "defect/3.tif 1 0 defect -\ngood/1.png 0 0 good -\ngood/2.jpeg 0 0 good -\n";
    expect("", &(BlemishDatasetSettings){ALL_MASKS, .layout = "folder", .test_fraction = 0}, "folder", train);
    refuse("", &(BlemishDatasetSettings){ALL_MASKS, .test_fraction = (double)NAN}, BLEMISH_ERROR_ARGUMENT,
           "test_fraction");
    refuse("", &(BlemishDatasetSettings){ALL_MASKS, .test_fraction = 1.5}, BLEMISH_ERROR_ARGUMENT, "test_fraction");
    refuse("masks", &defaults, BLEMISH_ERROR_FORMAT,
           "layout: found no known one, expected train/good or train/ok (mvtec), Data/Images/Normal (visa), "
           "train/*_GT.png (ksdd2), negative/data beside positive/data (sensum), MT_*/Imgs (magnetic-tile), good "
           "(folder), "
           "a .csv file (csv)");
    refuse("missing", &defaults, BLEMISH_ERROR_IO, "missing: No such file");
    refuse("good/1.png", &defaults, BLEMISH_ERROR_FORMAT, "layout");
    mkdir(at("empty"), 0777);
    mkdir(at("empty/good"), 0777);
    refuse("empty", &defaults, BLEMISH_ERROR_FORMAT, "found no image");
}

static void csv_fields(void **state) {
    (void)state;
    put("set/a.png");
    put("set/b,\"1\".png");
    put("set/c.png");
    put("set/d.png");
    put("masks/m.png");
    char text[1024];
    snprintf(text, sizeof text,
             "\xef\xbb\xbfPath,label,mask,split\r\n"
             "a.png,good,../masks/m.png,train\r\n"
             "\"b,\"\"1\"\".png\",,../masks/m.png,TEST\r\n"
             "\r\n"
             "%s/set/c.png,Anomalous,,test\r\n"
             "d.png,,,train",
             root);
    put_text("set/list.csv", text);
    char expected[1024];
    snprintf(expected, sizeof expected,
             "set/a.png 0 0 good -\nset/b,\"1\".png 1 1 defect set/../masks/m.png\n"
             "set/c.png 1 1 defect -\nset/d.png -1 0 unknown -\n");
    expect("set/list.csv", &defaults, "csv", expected);

    put_text("set/list.csv", "split,path\ntrain,a.png\n");
    expect("set/list.csv", &defaults, "csv", "set/a.png -1 0 unknown -\n");
    put_text("set/list.csv", "path\na.png\nc.png\n"); /* drawn: one each way */
    Error e = {0};
    Manifest m;
    assert_int_equal(manifest_open(&m, at("set/list.csv"), &defaults, &e), BLEMISH_OK);
    assert_int_equal(m.samples[0].split + m.samples[1].split, BLEMISH_SPLIT_TEST);
    manifest_close(&m);

    const struct {
        const char *text, *part;
    } bad[] = {
        {"", "line 1: column: found no \"path\""},
        {",path\n", "line 1: column: found an empty name"},
        {"label\ngood\n", "line 1: column: found no \"path\""},
        {"path,path\n", "line 1: column: found path, expected each column once"},
        {"path,lable\n", "line 1: column: found lable"},
        {"path,label,mask,split,more\n", "line 1: columns: found more than 4, expected path,label,mask,split"},
        {"path,label\na.png\n", "line 2: columns: found 1, expected 2"},
        {"path,label\n\na.png,good\nc.png,bad\n", "line 4: label: found bad"},
        {"path,split\na.png,validate\n", "line 2: split: found validate"},
        {"path,label\n\"a\n.png\",good\n", "line 2: path: found "},
        {"path\n\"a\nb\nc\",\"\"\n", "line 2: columns"},
        {"path\na.png\nx.png\n", "x.png, expected a file that exists"},
        {"path,mask\na.png,x.png\n", "line 2: mask: found "},
        {"path,mask\n,x.png\n", "line 2: path: found nothing"},
        {"path\n\"a.png\n", "line 2: quotes: found the file's end"},
        {"path\n\"a\".png\n", "line 2: quotes: found text after"},
        {"path\na.png\na.png\n", "a.png twice"},
        {"path\n.\n", "line 2: path"},
        {"path\n", "found no image"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put_text("set/list.csv", bad[i].text);
        refuse("set/list.csv", &defaults, BLEMISH_ERROR_FORMAT, bad[i].part);
    }
    put_bytes("set/list.csv", "path\na\0b\n", 9);
    refuse("set/list.csv", &defaults, BLEMISH_ERROR_FORMAT, "line 2: text: found a zero byte");
    char *huge = malloc(1 << 20);
    memset(huge, 'x', 1 << 20);
    memcpy(huge, "path\n", 5);
    put_bytes("set/list.csv", huge, 1 << 20);
    refuse("set/list.csv", &defaults, BLEMISH_ERROR_FORMAT, "line 2: field: found more than 65536 bytes");
    free(huge);
}

/* Every truncation and thousands of bit flips: a manifest or one line, and nothing for the sanitizers. */
static void csv_survives_damage(void **state) {
    (void)state;
    put("a.png");
    put("b.png");
    const char text[] = "path,label,mask,split\r\n\"a.png\",good,,train\n\"b.png\",\"1\",\"a.png\",test\r\n";
    size_t n = sizeof text - 1, opened = 0, refused = 0;
    Random r = random_new(11, 0);
    for (size_t i = 0; i < n + 3000; i++) {
        char damaged[sizeof text];
        memcpy(damaged, text, sizeof text);
        size_t length = i <= n ? i : n;
        for (int flips = i <= n ? 0 : 1 + (int)(i % 3); flips > 0; flips--)
            damaged[random_below(&r, (uint32_t)n)] ^= (char)(1 << random_below(&r, 8));
        put_bytes("list.csv", damaged, length);
        Error e = {0};
        Manifest m;
        if (manifest_open(&m, at("list.csv"), &defaults, &e) == BLEMISH_OK) {
            assert_true(m.count >= 1 && m.count <= 2);
            opened++;
            manifest_close(&m);
        } else {
            assert_true(e.text[0] && !strchr(e.text, '\n'));
            refused++;
        }
    }
    assert_true(opened > 10 && refused > 10);
}

static void splits_follow_their_definition(void **state) {
    (void)state;
    for (size_t n = 1; n < 30; n++)
        for (int f = 0; f <= 10; f++) {
            Error e = {0};
            Manifest m = {0}, again = {0};
            for (size_t i = 0; i < 2 * n; i++) {
                char name[32];
                snprintf(name, sizeof name, "%03zu.png", i);
                Sample s = {.path = name, .type = (char *)(i % 2 ? "a" : "b"), .split = BLEMISH_SPLIT_TEST};
                assert_int_equal(manifest_add(&m, &s, &e), BLEMISH_OK);
                assert_int_equal(manifest_add(&again, &s, &e), BLEMISH_OK);
            }
            assert_int_equal(manifest_split(&m, f / 10.0, 5, &e), BLEMISH_OK);
            assert_int_equal(manifest_split(&again, f / 10.0, f == 5 ? 6 : 5, &e), BLEMISH_OK);
            size_t test[2] = {0}, differ = 0, twins = 0;
            for (size_t i = 0; i < 2 * n; i++) {
                test[i % 2] += m.samples[i].split == BLEMISH_SPLIT_TEST;
                differ += m.samples[i].split != again.samples[i].split;
                if (i % 2) twins += m.samples[i].split == m.samples[i - 1].split;
            }
            size_t expected = (size_t)((f * (int)n + 5) / 10); /* round half up, in integers */
            if (n > 1 && f > 0 && expected == 0) expected = 1;
            if (n > 1 && f < 10 && expected == n) expected = n - 1;
            assert_int_equal(test[0], expected);
            assert_int_equal(test[1], expected);
            if (f != 5) assert_int_equal(differ, 0);
            if (f == 5 && n > 20) assert_true(differ > 0); /* another seed, another split */
            if (f == 5 && n > 20) assert_true(twins < n);  /* each type has its own shuffle */
            manifest_close(&m);
            manifest_close(&again);
        }
}

static void fingerprint(char hex[65]) {
    Error e = {0};
    Manifest m;
    assert_int_equal(manifest_open(&m, at(""), &defaults, &e), BLEMISH_OK);
    assert_int_equal(manifest_fingerprint(&m, hex, &e), BLEMISH_OK);
    manifest_close(&m);
}

static void fingerprint_sees_every_change(void **state) {
    (void)state;
    put("set/train/good/0.png");
    put("set/train/good/1.png");
    put("set/test/dent/2.png");
    put("set/ground_truth/dent/2_mask.png");
    char hex[8][65];
    fingerprint(hex[0]);
    assert_int_equal(rename(at("set"), at("moved")), 0);
    fingerprint(hex[1]);
    assert_string_equal(hex[0], hex[1]); /* moving is no change */
    put_text("moved/train/good/0.png", "other");
    fingerprint(hex[1]);
    put_text("moved/ground_truth/dent/2_mask.png", "other");
    fingerprint(hex[2]);
    assert_int_equal(rename(at("moved/test/dent/2.png"), at("moved/test/dent/3.png")), 0);
    fingerprint(hex[3]);
    assert_int_equal(rename(at("moved/train/good/1.png"), at("moved/test/dent/1.png")), 0);
    fingerprint(hex[4]);
    for (int i = 0; i < 5; i++)
        for (int j = 0; j < i; j++) assert_string_not_equal(hex[i], hex[j]);
    Error e = {0};
    Manifest m;
    assert_int_equal(manifest_open(&m, at(""), &defaults, &e), BLEMISH_OK);
    unlink(at("moved/test/dent/1.png"));
    assert_int_equal(manifest_fingerprint(&m, hex[0], &e), BLEMISH_ERROR_IO);
    manifest_close(&m);
}

static void magnetic_tile_as_published(void **state) {
    (void)state;
    const char *path = SHARED_DIR "/data/magnetic-tile";
    if (access(path, R_OK) != 0) {
        print_message("skipped: %s is absent\n", path);
        skip();
    }
    Error e = {0};
    Manifest m;
    assert_int_equal(manifest_open(&m, path, &defaults, &e), BLEMISH_OK);
    assert_string_equal(m.layout, "magnetic-tile");
    /* The counts that the data set's paper gives. */
    const struct {
        const char *type;
        size_t count;
    } types[] = {{"MT_Blowhole", 115}, {"MT_Break", 85},   {"MT_Crack", 57},
                 {"MT_Fray", 32},      {"MT_Uneven", 103}, {"good", 952}};
    size_t total = 0;
    for (size_t t = 0; t < 6; t++) {
        size_t found = 0, test = 0;
        for (size_t i = 0; i < m.count; i++) {
            const Sample *s = &m.samples[i];
            if (strcmp(s->type, types[t].type) != 0) continue;
            found++;
            test += s->split == BLEMISH_SPLIT_TEST;
            assert_int_equal(s->label, t < 5);
            assert_int_equal(s->mask_path != NULL, t < 5);
        }
        assert_int_equal(found, types[t].count);
        assert_int_equal(test, (size_t)lround(0.4 * (double)found));
        total += found;
    }
    assert_int_equal(m.count, total);
    manifest_close(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(mvtec_with_training_defects, set_up, tear_down),
        cmocka_unit_test_setup_teardown(btad_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(symbolic_links_are_followed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(folder_with_masks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(csv_fields, set_up, tear_down),
        cmocka_unit_test_setup_teardown(csv_survives_damage, set_up, tear_down),
        cmocka_unit_test(splits_follow_their_definition),
        cmocka_unit_test_setup_teardown(fingerprint_sees_every_change, set_up, tear_down),
        cmocka_unit_test(magnetic_tile_as_published),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
