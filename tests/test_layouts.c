/* The published layouts: read as they are, split as published, trained on and evaluated; damaged ones refused. */
#include "data/layout.h"
#include "helper_folder.h"
#include "helper_layouts.h"
#include "train/train.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static BlemishDatasetSettings settings_new(void) {
    BlemishDatasetSettings s;
    blemish_dataset_defaults(&s);
    return s;
}

/* What to open of a fixture written to the folder; in one of a few buffers that take turns. */
static const char *at(const char *name) {
    static char paths[4][PATH_SIZE];
    static unsigned turn;
    return *name ? path_in(paths[turn++ % 4], folder, name) : folder;
}

static Manifest open_fixture(const Fixture *f, const BlemishDatasetSettings *settings) {
    Error e = {0};
    Manifest m;
    assert_ok(manifest_open(&m, at(f->path), settings, &e), e.text);
    return m;
}

static void refuse(const char *path, const BlemishDatasetSettings *settings, BlemishStatus status, const char *part) {
    Error e = {0};
    Manifest m;
    assert_int_equal(manifest_open(&m, at(path), settings, &e), status);
    assert_null(m.samples);
    if (!strstr(e.text, part)) fail_msg("\"%s\" does not hold \"%s\"", e.text, part);
}

/* ---- as published ---------------------------------------------------------------------------------------- */

static void fixtures_are_read_as_they_are(void **state) {
    (void)state;
    const Fixture *f;
    for (size_t i = 0; (f = fixture_at(i)); i++) {
        folder_make(folder);
        f->write(folder);
        for (int named = 0; named < 2; named++) {
            BlemishDatasetSettings settings = settings_new();
            if (named) settings.layout = f->layout;
            Manifest m = open_fixture(f, &settings);
            char *text = manifest_text(&m, folder);
            assert_string_equal(m.layout, f->layout);
            if (f->expected) assert_string_equal(text, f->expected);
            free(text);
            manifest_close(&m);
        }
        folder_remove(folder);
    }
}

static void folder_takes_every_mask(void **state) {
    (void)state;
    fixture_named("folder")->write(folder);
    BlemishDatasetSettings settings = settings_new();
    settings.test_fraction = 0;
    Manifest m = open_fixture(fixture_named("folder"), &settings);
    char *text = manifest_text(&m, folder);
    assert_string_equal(text, "defect/1.png 1 0 defect masks/1.png\ndefect/2.png 1 0 defect masks/2.json\n"
                              "defect/3.png 1 0 defect masks/3.txt\ndefect/4.png 1 0 defect -\n"
                              "good/a.png 0 0 good -\ngood/b.png 0 0 good -\n");
    free(text);
    manifest_close(&m);
}

static size_t count(const Manifest *m, BlemishSplit split, BlemishLabel label, bool masked) {
    size_t n = 0;
    for (size_t i = 0; i < m->count; i++)
        n += m->samples[i].split == split && m->samples[i].label == label && (!masked || m->samples[i].mask_path);
    return n;
}

static const Sample *sample_named(const Manifest *m, const char *end) {
    for (size_t i = 0; i < m->count; i++) {
        const char *path = m->samples[i].path;
        if (strlen(path) >= strlen(end) && strcmp(path + strlen(path) - strlen(end), end) == 0) return &m->samples[i];
    }
    fail_msg("no sample %s", end);
    return NULL;
}

static void kolektor_masks_follow_the_split_files(void **state) {
    (void)state;
    const Fixture *f = fixture_named("ksdd2");
    f->write(folder);
    for (int published = 1; published >= 0; published--) {
        for (int masks = 0; masks <= 2; masks++) {
            BlemishDatasetSettings settings = settings_new();
            settings.mask_count = masks;
            Manifest m = open_fixture(f, &settings);
            assert_int_equal(m.count, 6);
            assert_int_equal(count(&m, BLEMISH_SPLIT_TRAIN, BLEMISH_LABEL_DEFECT, false), 2);
            assert_int_equal(count(&m, BLEMISH_SPLIT_TRAIN, BLEMISH_LABEL_DEFECT, true), masks);
            assert_int_equal(count(&m, BLEMISH_SPLIT_TEST, BLEMISH_LABEL_DEFECT, true), 1);
            if (published && masks == 1) {
                assert_null(sample_named(&m, "/10301.png")->mask_path);
                assert_non_null(sample_named(&m, "/10302.png")->mask_path);
            }
            manifest_close(&m);
        }
        for (int masks = 0; masks <= 2 && published; masks++) { /* then drawn */
            char name[32];
            snprintf(name, sizeof name, "split_weakly_%d.pyb", masks);
            assert_int_equal(unlink(at(name)), 0);
        }
    }
    BlemishDatasetSettings settings = settings_new();
    settings.mask_count = 3;
    refuse("", &settings, BLEMISH_ERROR_ARGUMENT, "mask_count: found 3, expected at most the training split's 2 masks");
    settings.mask_ratio = 0.5;
    refuse("", &settings, BLEMISH_ERROR_ARGUMENT, "mask_ratio: found 0.5 beside a mask_count of 3, expected one");
    settings.mask_count = -1;
    settings.mask_ratio = (double)NAN;
    refuse("", &settings, BLEMISH_ERROR_ARGUMENT, "mask_ratio: found nan, expected 0 to 1");
    settings = settings_new();
    settings.fold = 1;
    refuse("", &settings, BLEMISH_ERROR_ARGUMENT, "fold: found 1, but the ksdd2 layout has no folds");
}

/* Folds, published or drawn, test every image exactly once. */
static void sensum_folds_part_the_images(void **state) {
    (void)state;
    const Fixture *f = fixture_named("sensum");
    f->write(folder);
    for (int published = 1; published >= 0; published--) {
        int tested[12] = {0};
        for (int fold = 0; fold < 3; fold++) {
            BlemishDatasetSettings settings = settings_new();
            settings.fold = fold;
            Manifest m = open_fixture(f, &settings);
            assert_int_equal(m.count, 12);
            assert_int_equal(count(&m, BLEMISH_SPLIT_TEST, BLEMISH_LABEL_GOOD, false), 2);
            assert_int_equal(count(&m, BLEMISH_SPLIT_TEST, BLEMISH_LABEL_DEFECT, true), 2);
            for (size_t i = 0; i < 12; i++) tested[i] += m.samples[i].split == BLEMISH_SPLIT_TEST;
            if (published)
                for (size_t i = 0; i < 6; i++)
                    assert_int_equal(m.samples[i].split == BLEMISH_SPLIT_TEST, (int)(i + 1) % 3 == fold);
            manifest_close(&m);
        }
        for (size_t i = 0; i < 12; i++) assert_int_equal(tested[i], 1);
        if (published) assert_int_equal(rename(at("sensum_splits"), at("elsewhere")), 0);
    }
    BlemishDatasetSettings settings = settings_new();
    settings.fold = 3;
    refuse("", &settings, BLEMISH_ERROR_ARGUMENT, "fold: found 3, expected 0 to 2");
    settings.fold = -1;
    refuse("", &settings, BLEMISH_ERROR_ARGUMENT, "fold: found -1, expected 0 to 2");
}

static void sensum_masks_follow_the_ratio(void **state) {
    (void)state;
    const Fixture *f = fixture_named("sensum");
    f->write(folder);
    for (int quarter = 0; quarter <= 4; quarter++) { /* lists exist for 0, 50 and 100 %; the others are drawn */
        BlemishDatasetSettings settings = settings_new();
        settings.mask_ratio = quarter / 4.0;
        settings.fold = 1;
        Manifest m = open_fixture(f, &settings);
        assert_int_equal(count(&m, BLEMISH_SPLIT_TRAIN, BLEMISH_LABEL_DEFECT, false), 4);
        assert_int_equal(count(&m, BLEMISH_SPLIT_TRAIN, BLEMISH_LABEL_DEFECT, true), quarter);
        assert_int_equal(count(&m, BLEMISH_SPLIT_TEST, BLEMISH_LABEL_DEFECT, true), 2);
        if (quarter == 2) { /* the list's first two: 2 and 3 */
            assert_non_null(sample_named(&m, "positive/data/002.png")->mask_path);
            assert_non_null(sample_named(&m, "positive/data/003.png")->mask_path);
        }
        manifest_close(&m);
    }
}

static void visa_without_its_table_is_split_by_seed(void **state) {
    (void)state;
    const Fixture *f = fixture_named("visa");
    f->write(folder);
    assert_int_equal(unlink(at("split_csv/1cls.csv")), 0);
    BlemishDatasetSettings settings = settings_new();
    Manifest m = open_fixture(f, &settings);
    assert_int_equal(m.count, 4);
    assert_int_equal(count(&m, BLEMISH_SPLIT_TEST, BLEMISH_LABEL_GOOD, false), 1);
    assert_string_equal(m.samples[0].type, "anomaly");
    assert_non_null(m.samples[0].mask_path);
    manifest_close(&m);
}

/* From inside the category's folder, whose name is then not in the path. */
static void a_folder_may_be_named_by_a_dot(void **state) {
    (void)state;
    char before[PATH_SIZE];
    fixture_named("visa")->write(folder);
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(at("candle")), 0);
    Error e = {0};
    Manifest m;
    BlemishDatasetSettings settings = settings_new();
    BlemishStatus status = manifest_open(&m, ".", &settings, &e);
    assert_int_equal(chdir(before), 0);
    assert_ok(status, e.text);
    assert_int_equal(m.count, 4);
    manifest_close(&m);
}

/* More masks keep what fewer did, another seed keeps others, the test split keeps all. */
static void masks_are_drawn_for_any_layout(void **state) {
    (void)state;
    enum { IMAGES = 40 };
    char name[64];
    for (int i = 0; i < IMAGES; i++) {
        snprintf(name, sizeof name, "train/%s/%02d.png", i % 2 ? "good" : "dent", i);
        put_text(folder, name, "%d", i);
        snprintf(name, sizeof name, "ground_truth/dent/%02d_mask.png", i);
        if (i % 2 == 0) put_text(folder, name, "%d", i);
    }
    put_text(folder, "test/dent/x.png", "x");
    put_text(folder, "ground_truth/dent/x_mask.png", "x");
    bool before[IMAGES] = {false}, seeds_differ = false;
    for (int masks = 0; masks <= IMAGES / 2; masks++) {
        for (uint64_t seed = 0; seed < 2; seed++) {
            BlemishDatasetSettings settings = settings_new();
            settings.seed = seed;
            settings.mask_count = masks;
            if (masks % 2) { /* the same as a ratio */
                settings.mask_count = -1;
                settings.mask_ratio = masks / (IMAGES / 2.0);
            }
            Error e = {0};
            Manifest m;
            assert_ok(manifest_open(&m, folder, &settings, &e), e.text);
            assert_int_equal(count(&m, BLEMISH_SPLIT_TRAIN, BLEMISH_LABEL_DEFECT, true), masks);
            assert_int_equal(count(&m, BLEMISH_SPLIT_TRAIN, BLEMISH_LABEL_DEFECT, false), IMAGES / 2);
            assert_int_equal(count(&m, BLEMISH_SPLIT_TEST, BLEMISH_LABEL_DEFECT, true), 1);
            for (int i = 0; i < IMAGES; i += 2) {
                snprintf(name, sizeof name, "/train/dent/%02d.png", i);
                const bool kept = sample_named(&m, name)->mask_path != NULL;
                if (seed == 0) {
                    assert_true(kept || !before[i]);
                    before[i] = kept;
                } else {
                    seeds_differ |= kept != before[i];
                }
            }
            manifest_close(&m);
        }
    }
    assert_true(seeds_differ);
}

/* ---- training -------------------------------------------------------------------------------------------- */

static void train_and_evaluate(const Fixture *f, const BlemishDatasetSettings *data_settings, const char *regime) {
    static const char *const set[][2] = {{"size", "32"}, {"hidden", "64"}, {"epochs", "1"}, {"batch", "4"}};
    BlemishDataset *d;
    BlemishRecipe *r;
    BlemishModel *m;
    BlemishSession *s;
    BlemishMetrics metrics;
    assert_ok(blemish_dataset_open(&d, at(f->path), data_settings), blemish_dataset_error(d));
    assert_ok(blemish_recipe_new(&r), "");
    for (size_t i = 0; i < sizeof set / sizeof *set; i++)
        assert_ok(blemish_recipe_set(r, set[i][0], set[i][1]), blemish_recipe_error(r));
    BlemishTrainSettings settings;
    blemish_train_defaults(&settings);
    settings.threads = 1;
    assert_ok(blemish_train(&m, d, r, &settings), blemish_model_error(m));
    assert_string_equal(blemish_model_info(m).regime, regime);
    assert_ok(blemish_session_open(&s, m, NULL), blemish_session_error(s));
    assert_ok(blemish_evaluate(s, d, BLEMISH_SPLIT_TEST, &metrics, NULL, NULL, NULL, NULL), blemish_session_error(s));
    assert_true(metrics.images >= 2 && metrics.defects >= 1);
    assert_true(metrics.i_auroc >= 0 && metrics.i_auroc <= 1);
    assert_true(metrics.masks >= 1 && metrics.p_auroc >= 0 && metrics.p_auroc <= 1);
    blemish_session_close(s);
    blemish_model_close(m);
    blemish_recipe_close(r);
    blemish_dataset_close(d);
}

static BlemishDatasetSettings fixture_settings(const Fixture *f) {
    BlemishDatasetSettings settings = settings_new();
    settings.test_fraction = 0.5;
    if (!strcmp(f->name, "folder")) settings.seed = 1; /* a test defect with a mask */
    return settings;
}

static void every_fixture_trains_and_evaluates(void **state) {
    (void)state;
    const Fixture *f;
    for (size_t i = 0; (f = fixture_at(i)); i++) {
        folder_make(folder);
        f->write(folder);
        const bool unsupervised = !strcmp(f->layout, "mvtec") || !strcmp(f->layout, "visa");
        BlemishDatasetSettings settings = fixture_settings(f);
        train_and_evaluate(f, &settings, unsupervised ? "unsupervised" : "supervised");
        if (!strcmp(f->name, "ksdd2") || !strcmp(f->name, "sensum")) { /* weak and mixed supervision */
            settings.mask_count = 0;
            train_and_evaluate(f, &settings, "supervised");
            settings.mask_count = 1;
            train_and_evaluate(f, &settings, "supervised");
        }
        folder_remove(folder);
    }
}

/* ---- damaged files, for every layout --------------------------------------------------------------------- */

/* An image of that split, or a defect's mask, as the file to damage; empty where the fixture has none. */
static void pick_file(const Fixture *f, BlemishSplit split, bool mask, char path[PATH_SIZE]) {
    const BlemishDatasetSettings settings = fixture_settings(f);
    Manifest m = open_fixture(f, &settings);
    *path = 0;
    for (size_t i = 0; i < m.count; i++) {
        const Sample *s = &m.samples[i];
        if (s->split != split || s->label == BLEMISH_LABEL_UNKNOWN || (mask && !s->mask_path)) continue;
        path_in(path, mask ? s->mask_path : s->path, mask && is_folder(s->mask_path) ? "000.png" : "");
        if (path[strlen(path) - 1] == '/') path[strlen(path) - 1] = 0;
    }
    manifest_close(&m);
}

/* One line that names the file. */
static void assert_names(const char *text, const char *path) {
    assert_null(strchr(text, '\n'));
    if (!strstr(text, path)) fail_msg("\"%s\" does not name %s", text, path);
}

static void train_in_vain(const BlemishDataset *d, const char *path) {
    BlemishRecipe *r;
    BlemishModel *m;
    BlemishTrainSettings settings;
    blemish_train_defaults(&settings);
    settings.threads = 1;
    assert_ok(blemish_recipe_new(&r), "");
    assert_ok(blemish_recipe_set(r, "size", "32"), blemish_recipe_error(r));
    assert_true(blemish_train(&m, d, r, &settings) == BLEMISH_ERROR_FORMAT);
    assert_names(blemish_model_error(m), path);
    blemish_model_close(m);
    blemish_recipe_close(r);
}

static void check_damaged(const Fixture *f, const char *path, BlemishSplit split, bool mask, BlemishSession *session) {
    const BlemishDatasetSettings settings = fixture_settings(f);
    BlemishDataset *d;
    BlemishDataReport report;
    BlemishMetrics metrics;
    if (blemish_dataset_open(&d, at(f->path), &settings)) { /* a layout whose masks tell the labels */
        assert_true(mask && !strcmp(f->name, "ksdd2"));
        assert_names(blemish_dataset_error(d), path);
        blemish_dataset_close(d);
        return;
    }
    assert_ok(blemish_dataset_check(d, &report, NULL, NULL), blemish_dataset_error(d));
    assert_int_equal(report.problem_counts[mask ? BLEMISH_PROBLEM_MASK_UNREADABLE : BLEMISH_PROBLEM_IMAGE_UNREADABLE],
                     1);
    assert_names(report.problems[0].text, path);
    if (split == BLEMISH_SPLIT_TRAIN) {
        train_in_vain(d, path);
    } else {
        assert_int_equal(blemish_evaluate(session, d, split, &metrics, NULL, NULL, NULL, NULL), BLEMISH_ERROR_FORMAT);
        assert_names(blemish_session_error(session), path);
    }
    blemish_dataset_close(d);
}

static void a_damaged_file_is_named(void **state) {
    (void)state;
    const Fixture *f;
    BlemishModel *model;
    BlemishSession *session;
    size_t images = 0, masks = 0;
    const BlemishSessionSettings one_thread = {.threads = 1, .batch = 1};
    assert_ok(blemish_model_untrained(&model, "resnet18", NULL, 32, 32), blemish_model_error(model));
    assert_ok(blemish_session_open(&session, model, &one_thread), blemish_session_error(session));
    for (size_t i = 0; (f = fixture_at(i)); i++)
        for (int k = 0; k < 4; k++) {
            char path[PATH_SIZE];
            uint8_t *bytes;
            size_t size;
            Error e = {0};
            const BlemishSplit split = k & 1 ? BLEMISH_SPLIT_TEST : BLEMISH_SPLIT_TRAIN;
            folder_make(folder);
            f->write(folder);
            pick_file(f, split, k & 2, path);
            if (*path) {
                assert_ok(file_load(path, "a file", 1 << 20, &bytes, &size, &e), e.text);
                assert_ok(atomic_write_file(path, bytes, size / 2, &e), e.text);
                array_free(bytes);
                check_damaged(f, path, split, k & 2, session);
                ++*(k & 2 ? &masks : &images);
            }
            folder_remove(folder);
        }
    assert_int_equal(images, 2 * 9);
    assert_int_equal(masks, 9 + 5); /* no mask is for training in mvtec, loco, btad and visa */
    blemish_session_close(session);
    blemish_model_close(model);
}

/* What is left of each layout when its good training images are gone. */
static void sets_without_good_images_are_refused(void **state) {
    (void)state;
    static const char *const expected[][2] = {
        {"mvtec", "found no training image that is labelled good"},
        {"loco", "found no training image that is labelled good"},
        {"btad", "found no training image that is labelled good"},
        {"visa", "1cls.csv: line 2: image: found "},
        {"ksdd2", "split_weakly_2.pyb: id 10000: found no file "},
        {"sensum", "train/neg.pckl: id 001: found no file "},
        {"magnetic-tile", "found no training image that is labelled good"},
        {"folder", "found no training image that is labelled good"},
        {"csv", "parts.csv: line 2: path: found "},
    };
    const Fixture *f;
    for (size_t i = 0; (f = fixture_at(i)); i++) {
        BlemishDatasetSettings settings = fixture_settings(f);
        if (!strcmp(f->name, "ksdd2")) settings.mask_count = 2;
        folder_make(folder);
        f->write(folder);
        Manifest m = open_fixture(f, &settings);
        for (size_t k = 0; k < m.count; k++)
            if (m.samples[k].split == BLEMISH_SPLIT_TRAIN && m.samples[k].label == BLEMISH_LABEL_GOOD)
                assert_int_equal(unlink(m.samples[k].path), 0);
        manifest_close(&m);
        settings.test_fraction = 1; /* where the split is drawn again */
        BlemishDataset *d;
        BlemishRecipe *r;
        BlemishModel *model;
        assert_string_equal(expected[i][0], f->name);
        if (blemish_dataset_open(&d, at(f->path), &settings)) {
            assert_names(blemish_dataset_error(d), expected[i][1]);
        } else {
            assert_ok(blemish_recipe_new(&r), "");
            assert_int_equal(blemish_train(&model, d, r, NULL), BLEMISH_ERROR_ARGUMENT);
            assert_names(blemish_model_error(model), expected[i][1]);
            blemish_model_close(model);
            blemish_recipe_close(r);
        }
        blemish_dataset_close(d);
        folder_remove(folder);
    }
}

/* ---- pickles --------------------------------------------------------------------------------------------- */

/* pickle.dumps(([(10001, True), (7, False), (70000, True)], [(20000, True)])) of Python 3.11, protocols 2 and 4. */
static const char protocol_2[] = "\x80\x02]q\0(M\x11'\x88\x86q\1K\7\x89\x86q\2Jp\x11\1\0\x88\x86q\3e]q\4M N\x88\x86q\5a"
                                 "\x86q\6.";
static const char protocol_4[] = "\x80\4\x95#\0\0\0\0\0\0\0]\x94(M\x11'\x88\x86\x94K\7\x89\x86\x94Jp\x11\1\0\x88\x86"
                                 "\x94"
                                 "e]\x94M N\x88\x86\x94"
                                 "a\x86\x94.";
/* pickle.dumps([(np.int64(5), np.bool_(True)), ("012", False), (np.uint16(300), 1)]) of NumPy 2.4. */
static const char numpy[] =
    "\x80\x04\x95\xdc\0\0\0\0\0\0\0]\x94(\x8c\x16numpy._core.multiarray\x94\x8c\x06scalar\x94\x93\x94\x8c\x05numpy\x94"
    "\x8c\x05"
    "dtype\x94\x93\x94\x8c\x02i8\x94\x89\x88\x87\x94R\x94(K\x03\x8c\x01<\x94NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff"
    "K\0t\x94"
    "bC\x08\x05\0\0\0\0\0\0\0\x94\x86\x94R\x94h\x03h\x06\x8c\x02"
    "b1\x94\x89\x88\x87\x94R\x94(K\x03\x8c\x01|\x94NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0t\x94"
    "bC\x01\x01\x94\x86\x94R\x94\x86\x94\x8c\x03"
    "012\x94\x89\x86\x94h\x03h\x06\x8c\x02u2\x94\x89\x88\x87\x94R\x94(K\x03h\x0aNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff"
    "K\0t\x94"
    "bC\x02,\x01\x94\x86\x94R\x94K\x01\x86\x94"
    "e.";

static void expect_entry(const SplitList *list, size_t i, const char *id, bool segmented) {
    assert_true(i < list->count);
    assert_string_equal(list->entries[i].id, id);
    assert_int_equal(list->entries[i].segmented, segmented);
}

static void split_lists_are_what_python_wrote(void **state) {
    (void)state;
    const Pair train[] = {{10001, true}, {7, false}, {70000, true}}, test[] = {{20000, true}};
    Error e = {0};
    SplitList lists[2];
    for (int i = 0; i < 3; i++) {
        if (i == 0) put_bytes(folder, "s.pyb", protocol_2, sizeof protocol_2 - 1);
        if (i == 1) put_bytes(folder, "s.pyb", protocol_4, sizeof protocol_4 - 1);
        if (i == 2) put_split(folder, "s.pyb", train, 3, test, 1);
        assert_ok(split_lists_read(lists, 2, 3, at("s.pyb"), &e), e.text);
        assert_int_equal(lists[0].count, 3);
        assert_int_equal(lists[1].count, 1);
        expect_entry(&lists[0], 0, "10001", true);
        expect_entry(&lists[0], 1, "007", false);
        expect_entry(&lists[0], 2, "70000", true);
        expect_entry(&lists[1], 0, "20000", true);
        split_lists_close(lists, 2);
    }
    uint8_t *bytes; /* the fixtures' writer and Python agree to the byte */
    size_t size;
    assert_ok(file_load(at("s.pyb"), "a pickle", 1 << 20, &bytes, &size, &e), e.text);
    assert_int_equal(size, sizeof protocol_4 - 1);
    assert_memory_equal(bytes, protocol_4, size);
    array_free(bytes);

    put_bytes(folder, "n.pckl", numpy, sizeof numpy - 1);
    assert_ok(split_lists_read(lists, 1, 3, at("n.pckl"), &e), e.text);
    assert_int_equal(lists[0].count, 3);
    expect_entry(&lists[0], 0, "005", true);
    expect_entry(&lists[0], 1, "012", false);
    expect_entry(&lists[0], 2, "300", true);
    split_lists_close(lists, 1);
}

static void split_lists_survive_damage(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t size, lists;
    } whole[] = {
        {protocol_2, sizeof protocol_2 - 1, 2}, {protocol_4, sizeof protocol_4 - 1, 2}, {numpy, sizeof numpy - 1, 1}};
    Random r = random_new(3, 0);
    size_t read = 0, refused = 0;
    for (size_t w = 0; w < 3; w++)
        for (size_t i = 0; i < whole[w].size + 2000; i++) {
            char damaged[sizeof numpy];
            const size_t n = whole[w].size, length = i < n ? i : n;
            memcpy(damaged, whole[w].bytes, n);
            for (int flips = i < n ? 0 : 1 + (int)(i % 3); flips > 0; flips--)
                damaged[random_below(&r, (uint32_t)n)] ^= (char)(1 << random_below(&r, 8));
            put_bytes(folder, "s", damaged, length);
            Error e = {0};
            SplitList lists[2];
            if (split_lists_read(lists, whole[w].lists, 1, at("s"), &e) == BLEMISH_OK) {
                assert_true(i >= n); /* no truncation is whole */
                split_lists_close(lists, whole[w].lists);
                read++;
            } else {
                assert_true(e.text[0] && !strchr(e.text, '\n'));
                refused++;
            }
        }
    assert_true(read > 10 && refused > 1000);
}

/* ---- malformed ------------------------------------------------------------------------------------------- */

static void damaged_kolektor(void **state) {
    (void)state;
    const Pair train[] = {{10000, true}, {10301, true}, {99999, true}}, test[] = {{20000, true}};
    BlemishDatasetSettings settings = settings_new();
    fixture_named("ksdd2")->write(folder);
    settings.mask_count = 1;
    put_split(folder, "split_weakly_1.pyb", train, 3, test, 1);
    refuse("", &settings, BLEMISH_ERROR_FORMAT, "split_weakly_1.pyb: id 99999: found no file ");
    put_split(folder, "split_weakly_1.pyb", train, 3, NULL, 0);
    refuse("", &settings, BLEMISH_ERROR_FORMAT, "split_weakly_1.pyb: found no tuple of 2 lists");
    put_bytes(folder, "split_weakly_1.pyb", protocol_4, 20);
    refuse("", &settings, BLEMISH_ERROR_FORMAT, "split_weakly_1.pyb: pickle: ");
    const char hostile[] = "\x80\2cos\nsystem\nU\x09rm -rf ~/\x85R.";
    put_bytes(folder, "split_weakly_1.pyb", hostile, sizeof hostile - 1);
    refuse("", &settings, BLEMISH_ERROR_FORMAT, "split_weakly_1.pyb: pickle: refuses global 'os.system'");
    const char outside[] = "\x80\2]U\x06../../\x88\x86"
                           "a]\x86.";
    put_bytes(folder, "split_weakly_1.pyb", outside, sizeof outside - 1);
    refuse("", &settings, BLEMISH_ERROR_FORMAT, "list 0, entry 0: found another id");
    const char maybe[] = "\x80\2]K\1K\2\x86"
                         "a]\x86.";
    put_bytes(folder, "split_weakly_1.pyb", maybe, sizeof maybe - 1);
    refuse("", &settings, BLEMISH_ERROR_FORMAT, "list 0, entry 0: found another second part, expected True or False");
    const char flat[] = "\x80\2]K\1a]\x86.";
    put_bytes(folder, "split_weakly_1.pyb", flat, sizeof flat - 1);
    refuse("", &settings, BLEMISH_ERROR_FORMAT, "list 0, entry 0: found no pair, expected (id, is_segmented)");

    settings = settings_new();
    assert_int_equal(unlink(at("train/10001_GT.png")), 0);
    refuse("", &settings, BLEMISH_ERROR_FORMAT, "train/10001_GT.png: found no such mask, expected one for every image");
    put_text(folder, "train/10001_GT.png", "no picture");
    refuse("", &settings, BLEMISH_ERROR_FORMAT, "train/10001_GT.png: content: found none of the known signatures");
    put_mask(folder, "train/10001_GT.png", false);
    assert_int_equal(rename(at("test"), at("tset")), 0);
    refuse("", &settings, BLEMISH_ERROR_IO, "/test: No such file");
}

static void damaged_sensum(void **state) {
    (void)state;
    const Pair train[] = {{1, true}, {77, true}};
    BlemishDatasetSettings settings = settings_new();
    fixture_named("sensum")->write(folder);
    put_split(folder, "sensum_splits/capsule/0/train/pos_100.pckl", train, 2, NULL, 0);
    refuse("", &settings, BLEMISH_ERROR_FORMAT, "pos_100.pckl: id 077: found no file ");
    assert_int_equal(unlink(at("sensum_splits/capsule/1/test/neg.pckl")), 0);
    settings.fold = 1;
    refuse("", &settings, BLEMISH_ERROR_IO, "sensum_splits/capsule/1/test/neg.pckl: No such file");
    put_split(folder, "sensum_splits/capsule/2/test/pos.pckl", train, 1, NULL, 0);
    settings.fold = 2; /* 1 is a training image of fold 2 too */
    refuse("", &settings, BLEMISH_ERROR_FORMAT, "positive/data/001.png twice");
    assert_int_equal(rename(at("capsule/positive/data"), at("data")), 0);
    refuse("", &settings, BLEMISH_ERROR_FORMAT, "layout: found no known one");
    settings.layout = "sensum";
    refuse("", &settings, BLEMISH_ERROR_FORMAT, "expected negative/data beside positive/data (sensum)");
}

static void damaged_visa(void **state) {
    (void)state;
    BlemishDatasetSettings settings = settings_new();
    fixture_named("visa")->write(folder);
    refuse("", &settings, BLEMISH_ERROR_ARGUMENT, "category: found candle, pcb1, expected one to be chosen");
    static const struct {
        const char *table, *part;
        BlemishStatus status;
    } bad[] = {
        {"", "1cls.csv: line 1: column: found ", BLEMISH_ERROR_FORMAT},
        {"object,split,label,image\n", "line 1: column: found no \"mask\", expected object,split,label,image,mask",
         BLEMISH_ERROR_FORMAT},
        {"object,split,label,image,masks\n", "line 1: column: found masks", BLEMISH_ERROR_FORMAT},
        {"object,split,label,image,mask\n", "1cls.csv: object: found no row of candle", BLEMISH_ERROR_FORMAT},
        {"object,split,label,image,mask\ncandle,train,normal\n", "line 2: columns: found 3, expected 5",
         BLEMISH_ERROR_FORMAT},
        {"object,split,label,image,mask\ncandle,val,normal,x,\n", "line 2: split: found val, expected train or test",
         BLEMISH_ERROR_FORMAT},
        {"object,split,label,image,mask\ncandle,train,bad,x,\n", "line 2: label: found bad, expected normal or anomaly",
         BLEMISH_ERROR_FORMAT},
        {"object,split,label,image,mask\ncandle,train,normal,candle/x.JPG,\n", "line 2: image: found ",
         BLEMISH_ERROR_FORMAT},
        {"object,split,label,image,mask\ncandle,train,normal,,\n", "line 2: image: found nothing",
         BLEMISH_ERROR_FORMAT},
        {"object,split,label,image,mask\ncandle,test,anomaly,candle/Data/Images/Anomaly/000.JPG,candle/m.png\n",
         "line 2: mask: found ", BLEMISH_ERROR_FORMAT},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put_text(folder, "split_csv/1cls.csv", "%s", bad[i].table);
        refuse("candle", &settings, bad[i].status, bad[i].part);
    }
    assert_int_equal(unlink(at("split_csv/1cls.csv")), 0);
    assert_int_equal(rename(at("candle/Data/Images/Anomaly"), at("candle/Anomaly")), 0);
    refuse("candle", &settings, BLEMISH_ERROR_IO, "Data/Images/Anomaly: No such file");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fixtures_are_read_as_they_are),
        cmocka_unit_test_setup_teardown(folder_takes_every_mask, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(kolektor_masks_follow_the_split_files, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(sensum_folds_part_the_images, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(sensum_masks_follow_the_ratio, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(visa_without_its_table_is_split_by_seed, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(a_folder_may_be_named_by_a_dot, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(masks_are_drawn_for_any_layout, open_folder, close_folder),
        cmocka_unit_test(every_fixture_trains_and_evaluates),
        cmocka_unit_test(a_damaged_file_is_named),
        cmocka_unit_test(sets_without_good_images_are_refused),
        cmocka_unit_test_setup_teardown(split_lists_are_what_python_wrote, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(split_lists_survive_damage, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(damaged_kolektor, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(damaged_sensum, open_folder, close_folder),
        cmocka_unit_test_setup_teardown(damaged_visa, open_folder, close_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
