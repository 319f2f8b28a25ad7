/* Regions of interest: what is outside has no say in a result, and is dark in pictures of it. */
#include "api/api.h"
#include "helper_train.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { H = 64, W = 96 };

static char folder[PATH_SIZE];
static BlemishModel *model; /* resnet18 with test values */

static int open_all(void **state) {
    (void)state;
    folder_make(folder);
    return blemish_model_untrained(&model, "resnet18", NULL, H, W);
}

static int close_all(void **state) {
    (void)state;
    blemish_model_close(model);
    folder_remove(folder);
    return 0;
}

/* A ragged disc, so that its edge crosses pixels of the feature maps in every way. */
static BlemishImage disc(size_t width, size_t height) {
    Error e = {0};
    BlemishImage mask;
    assert_ok(image_new(&mask, width, height, 1, &e), e.text);
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++) {
            const double v = ((double)y + 0.5) / (double)height - 0.45, u = ((double)x + 0.5) / (double)width - 0.6;
            image_pixels(&mask)[y * width + x] = u * u + v * v < 0.07 + 0.02 * sin(20 * atan2(v, u)) ? 200 : 0;
        }
    return mask;
}

/* ---- results --------------------------------------------------------------------------------------------- */

/* used (height, width) becomes 1 where the bilinear resize to the network's input reads for a pixel of roi. */
static void mark_used(const uint8_t *roi, size_t height, size_t width, uint8_t *used) {
    memset(used, 0, height * width);
    for (size_t i = 0; i < H * W; i++) {
        if (!roi[i]) continue;
        const double y = ((double)(i / W) + 0.5) * (double)height / H - 0.5;
        const double x = ((double)(i % W) + 0.5) * (double)width / W - 0.5;
        for (int k = 0; k < 4; k++) {
            const double v = fmin(fmax(floor(y) + k / 2, 0), (double)height - 1);
            const double u = fmin(fmax(floor(x) + k % 2, 0), (double)width - 1);
            used[(size_t)v * width + (size_t)u] = 1;
        }
    }
}

typedef struct Kept {
    float score, map_max, map[H * W], *large;
    size_t regions;
    BlemishRegion first;
} Kept;

static void judge(BlemishSession *s, const BlemishImage *image, Kept *k) {
    BlemishResult r;
    const BlemishRegion *regions;
    Error e = {0};
    assert_ok(blemish_session_run(s, image, 1, &r), blemish_session_error(s));
    k->score = r.score;
    k->map_max = r.map_max;
    memcpy(k->map, r.map, sizeof k->map);
    k->large = array_new(image->height * image->width, sizeof(float), &e);
    assert_ok(blemish_session_map_at_image_size(s, &r, k->large), blemish_session_error(s));
    assert_ok(blemish_session_regions(s, &r, &regions, &k->regions), blemish_session_error(s));
    k->first = k->regions ? regions[0] : (BlemishRegion){0};
}

static bool same(const Kept *a, const Kept *b, size_t pixels) {
    return a->score == b->score && a->map_max == b->map_max && memcmp(a->map, b->map, sizeof a->map) == 0 &&
           memcmp(a->large, b->large, pixels * sizeof(float)) == 0 && a->regions == b->regions &&
           memcmp(&a->first, &b->first, sizeof a->first) == 0;
}

/* Changes every pixel that is not used by anything at all. */
static void change_outside(BlemishImage *image, const uint8_t *used, uint64_t seed) {
    Random r = random_new(seed, 9);
    for (size_t i = 0; i < image->height * image->width; i++)
        for (size_t c = 0; c < 3 && !used[i]; c++) image_pixels(image)[3 * i + c] = (uint8_t)random_below(&r, 256);
}

static void what_is_outside_changes_no_bit(void **state) {
    (void)state;
    static const size_t sizes[][2] = {{W, H}, {201, 143}, {57, 39}, {W, 2 * H}};
    static uint8_t used[201 * 143];
    BlemishImage mask = disc(2 * W, H);
    assert_ok(blemish_model_set_thresholds(model, 0.5f, 0.2f), blemish_model_error(model));
    for (int with = 1; with >= 0; with--) {
        assert_ok(blemish_model_set_roi(model, with ? &mask : NULL), blemish_model_error(model));
        const BlemishImage roi = blemish_model_info(model).roi;
        static uint8_t kept[H * W];
        if (with) memcpy(kept, roi.data, sizeof kept);
        for (int precision = 0; precision < 2; precision++) {
            BlemishSessionSettings settings;
            BlemishSession *s;
            blemish_session_defaults(&settings);
            settings.threads = 1;
            settings.precision = precision ? BLEMISH_PRECISION_BF16 : BLEMISH_PRECISION_FP32;
            if (blemish_session_open(&s, model, &settings) == BLEMISH_ERROR_UNSUPPORTED) {
                blemish_session_close(s);
                continue;
            }
            for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
                const size_t width = sizes[i][0], height = sizes[i][1];
                BlemishImage image;
                Kept before, after;
                picture_make(&image, width, height, 3, i);
                mark_used(kept, height, width, used);
                judge(s, &image, &before);
                change_outside(&image, used, i);
                judge(s, &image, &after);
                assert_int_equal(same(&before, &after, height * width), with); /* and without a region it does change */
                for (size_t k = 0; with && k < H * W; k++) assert_true(kept[k] || before.map[k] == 0);
                image_free(&image);
                array_free(before.large), array_free(after.large);
            }
            blemish_session_close(s);
        }
    }
    image_free(&mask);
}

/* At a pixel threshold of 0 the regions are the region of interest itself. */
static void maps_and_regions_end_at_its_edge(void **state) {
    (void)state;
    static const size_t sizes[][2] = {{W, H}, {201, 143}, {W, 2 * H}};
    BlemishImage mask = disc(W, H);
    assert_ok(blemish_model_set_roi(model, &mask), blemish_model_error(model));
    assert_ok(blemish_model_set_thresholds(model, 0.5f, 0), blemish_model_error(model));
    BlemishSession *s;
    assert_ok(blemish_session_open(&s, model, NULL), blemish_session_error(s));
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const size_t width = sizes[i][0], height = sizes[i][1];
        BlemishImage image;
        Kept k;
        size_t inside = 0;
        picture_make(&image, width, height, 1, 5);
        judge(s, &image, &k);
        float most = 0;
        for (size_t y = 0; y < height; y++)
            for (size_t x = 0; x < width; x++) {
                /* The pixel of the network's input under this one's centre. */
                const size_t v = (size_t)(((double)y + 0.5) * H / (double)height);
                const size_t u = (size_t)(((double)x + 0.5) * W / (double)width);
                const float value = k.large[y * width + x];
                inside += mask.data[v * W + u] != 0;
                if (!mask.data[v * W + u]) assert_true(value == 0);
            }
        for (size_t p = 0; p < H * W; p++) most = fmaxf(most, k.map[p]);
        assert_true(k.map_max == most && most > 0);
        assert_int_equal(k.regions, 1);
        assert_int_equal(k.first.area, inside);
        image_free(&image);
        array_free(k.large);
    }
    blemish_session_close(s);
    image_free(&mask);
}

/* ---- pictures -------------------------------------------------------------------------------------------- */

/* What an evaluation hands over goes into a gallery. */
static int add_to_gallery(void *gallery, const BlemishEvaluated *v) {
    const BlemishImage roi = blemish_model_info(model).roi;
    assert_true(v->roi == roi.data && v->result.map_width == roi.width && v->result.map_height == roi.height);
    assert_ok(blemish_gallery_add(gallery, v), blemish_gallery_error(gallery));
    return 0;
}

/* With its image plain and its overlay dark outside; the frame is not looked at. */
static void galleries_are_dark_outside(void **state) {
    (void)state;
    enum { LEFT = 8, TOP = 2 + (W - H) / 2, OVERLAY = LEFT + 2 * (W + 4), FRAME = 1 + W / 64 };
    BlemishImage mask = disc(W, H), image, picture;
    BlemishDataset data = {.manifest = {.layout = "test"}, .open = true};
    BlemishMetrics metrics;
    BlemishGallery *gallery;
    BlemishSession *s;
    char path[PATH_SIZE];
    Error e = {0};
    picture_make(&image, W, H, 3, 7);
    assert_ok(image_write_png(&image, path_in(path, folder, "gallery-of.png"), &e), e.text);
    train_list(&data.manifest, folder, "gallery-of.png", NULL, BLEMISH_LABEL_GOOD, BLEMISH_SPLIT_TEST);
    for (int with = 1; with >= 0; with--) {
        assert_ok(blemish_model_set_roi(model, with ? &mask : NULL), blemish_model_error(model));
        assert_ok(blemish_session_open(&s, model, NULL), blemish_session_error(s));
        assert_ok(blemish_gallery_new(&gallery, W, 1), blemish_gallery_error(gallery));
        assert_ok(blemish_evaluate(s, &data, BLEMISH_SPLIT_TEST, &metrics, add_to_gallery, gallery, NULL, NULL),
                  blemish_session_error(s));
        assert_ok(blemish_gallery_write(gallery, path_in(path, folder, "g.png")), blemish_gallery_error(gallery));
        assert_ok(blemish_image_load(&picture, path, NULL), path);
        size_t darker = 0;
        for (size_t y = FRAME; y < H - FRAME; y++)
            for (size_t x = FRAME; x < W - FRAME; x++) {
                const uint8_t *row = picture.data + (TOP + y) * picture.stride, *is = image.data + 3 * (y * W + x);
                assert_memory_equal(row + 3 * (LEFT + x), is, 3);
                for (size_t c = 0; c < 3; c++) {
                    const uint8_t found = row[3 * (OVERLAY + x) + c];
                    darker += !mask.data[y * W + x] && found == is[c] / 3;
                }
            }
        size_t outside = 0;
        for (size_t y = FRAME; y < H - FRAME; y++)
            for (size_t x = FRAME; x < W - FRAME; x++) outside += !mask.data[y * W + x];
        assert_true(with ? darker == 3 * outside : darker < outside);
        blemish_gallery_close(gallery);
        blemish_session_close(s);
        image_free(&picture);
    }
    manifest_close(&data.manifest);
    image_free(&image), image_free(&mask);
}

static void overlays_are_dark_outside(void **state) {
    (void)state;
    BlemishImage mask = disc(W, H), image, overlay;
    char path[PATH_SIZE];
    assert_ok(blemish_model_set_roi(model, &mask), blemish_model_error(model));
    assert_ok(blemish_model_set_thresholds(model, 0.5f, 1), blemish_model_error(model));
    picture_make(&image, W, H, 1, 6);
    BlemishSession *s;
    BlemishResult r;
    assert_ok(blemish_session_open(&s, model, NULL), blemish_session_error(s));
    assert_ok(blemish_session_run(s, &image, 1, &r), blemish_session_error(s));
    assert_ok(blemish_session_write_overlay(s, &image, &r, path_in(path, folder, "o.png")), blemish_session_error(s));
    assert_ok(blemish_image_load(&overlay, path, NULL), path);
    for (size_t i = 0; i < H * W; i++)
        if (!mask.data[i]) {
            uint8_t expected[3], dark = image.data[i] / 3; /* with the heat map's lowest colour, at no opacity */
            memset(expected, dark, 3);
            assert_memory_equal(overlay.data + 3 * i, expected, 3);
        }
    blemish_session_close(s);
    image_free(&overlay), image_free(&image), image_free(&mask);
}

/* A mask that is written reads back as it is; the picture is dark outside. */
static void regions_are_written(void **state) {
    (void)state;
    char path[PATH_SIZE], error[BLEMISH_ERROR_SIZE];
    BlemishImage mask = disc(40, 30), back, image, picture;
    assert_ok(blemish_roi_write(&mask, NULL, path_in(path, folder, "mask.png"), error), error);
    assert_ok(blemish_mask_load(&back, path, error), error);
    assert_true(back.width == 40 && back.height == 30 && back.channels == 1);
    for (size_t i = 0; i < 40 * 30; i++) assert_int_equal(back.data[i], mask.data[i] != 0);
    picture_make(&image, 80, 60, 3, 4);
    assert_ok(blemish_roi_write(&mask, &image, path_in(path, folder, "picture.png"), error), error);
    assert_ok(blemish_image_load(&picture, path, error), error);
    for (size_t i = 0; i < 80 * 60; i++)
        for (size_t c = 0; c < 3; c++)
            assert_int_equal(picture.data[3 * i + c],
                             image.data[3 * i + c] / (mask.data[i / 80 / 2 * 40 + i % 80 / 2] ? 1 : 3));
    image_free(&mask), image_free(&back), image_free(&image), image_free(&picture);
}

/* ---- misuse, and what a change drops ---------------------------------------------------------------------- */

static void misuse_is_refused(void **state) {
    (void)state;
    Error e = {0};
    bool changed;
    const uint8_t black[4] = {0}, white[4] = {1, 1, 1, 1};
    const BlemishImage bad[] = {{NULL, 2, 2, 2, 1},  {white, 0, 2, 2, 1}, {white, 2, 0, 2, 1},
                                {white, 2, 1, 2, 3}, {white, 2, 2, 1, 1}, {white, 70000, 1, 70000, 1},
                                {black, 2, 2, 2, 1}};
    BlemishImage mask = disc(W, H);
    assert_ok(blemish_model_set_roi(model, &mask), blemish_model_error(model));
    const double share = blemish_model_info(model).roi_share;
    assert_true(share > 0.1 && share < 0.4);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(blemish_model_set_roi(model, &bad[i]), BLEMISH_ERROR_ARGUMENT);
        assert_non_null(strstr(blemish_model_error(model), "region of interest: found"));
        assert_true(blemish_model_info(model).roi_share == share);
    }
    const BlemishImage whole = {white, 2, 2, 2, 1}; /* which leaves nothing out */
    assert_ok(blemish_model_set_roi(model, &whole), blemish_model_error(model));
    assert_null(blemish_model_info(model).roi.data);
    assert_ok(blemish_model_set_roi(model, &mask), blemish_model_error(model));
    assert_int_equal(blemish_model_set_roi(NULL, &mask), BLEMISH_ERROR_ARGUMENT);
    BlemishModel *none;
    assert_true(blemish_model_open(&none, "/nowhere") != BLEMISH_OK);
    assert_int_equal(blemish_model_set_roi(none, &mask), BLEMISH_ERROR_ARGUMENT);
    blemish_model_close(none);
    /* By tiles an image is not what the network sees. */
    BlemishSessionSettings settings;
    BlemishSession *s;
    blemish_session_defaults(&settings);
    settings.tiles = BLEMISH_TILES_ON;
    assert_int_equal(blemish_session_open(&s, model, &settings), BLEMISH_ERROR_ARGUMENT);
    assert_non_null(strstr(blemish_session_error(s), "tiles: found a model with a region of interest"));
    blemish_session_close(s);
    BlemishImage image;
    BlemishResult r;
    picture_make(&image, W, H, 3, 1);
    assert_ok(blemish_model_set_roi(model, NULL), blemish_model_error(model));
    assert_ok(blemish_session_open(&s, model, &settings), blemish_session_error(s));
    assert_ok(blemish_session_run(s, &image, 1, &r), blemish_session_error(s));
    assert_ok(blemish_model_set_roi(model, &mask), blemish_model_error(model));
    assert_int_equal(blemish_session_run(s, &image, 1, &r), BLEMISH_ERROR_ARGUMENT);
    blemish_session_close(s);
    Model tiled;
    model_make(&tiled, 32, 32);
    tiled.tiles = true;
    assert_int_equal(model_set_roi(&tiled, &mask, &changed, &e), BLEMISH_ERROR_ARGUMENT);
    assert_non_null(strstr(e.text, "found a model by tiles"));
    assert_null(tiled.roi);
    model_close(&tiled);
    /* A border that leaves nothing of the region. */
    uint8_t corner[H * W] = {1};
    const BlemishImage top_left = {corner, W, H, W, 1};
    assert_ok(blemish_model_set_roi(model, &top_left), blemish_model_error(model));
    assert_ok(blemish_session_open(&s, model, NULL), blemish_session_error(s));
    assert_ok(blemish_session_run(s, &image, 1, &r), blemish_session_error(s));
    assert_ok(blemish_model_set_regions(model, 0, 1), blemish_model_error(model));
    assert_int_equal(blemish_session_run(s, &image, 1, &r), BLEMISH_ERROR_ARGUMENT);
    assert_non_null(strstr(blemish_session_error(s), "border: found 1 pixels, which leave nothing of the region of"));
    assert_ok(blemish_model_set_regions(model, 0, 0), blemish_model_error(model));
    blemish_session_close(s);
    image_free(&image), image_free(&mask);
    /* Learning. */
    BlemishRoi found;
    char error[BLEMISH_ERROR_SIZE];
    assert_int_equal(blemish_roi_learn(NULL, 32, 32, &mask, &found, NULL, NULL, error), BLEMISH_ERROR_ARGUMENT);
    assert_int_equal(blemish_roi_learn(NULL, 32, 32, NULL, &found, NULL, NULL, NULL), BLEMISH_ERROR_ARGUMENT);
    assert_int_equal(blemish_roi_write(NULL, NULL, "x.png", error), BLEMISH_ERROR_ARGUMENT);
    assert_int_equal(blemish_roi_write(&bad[3], NULL, "x.png", error), BLEMISH_ERROR_ARGUMENT);
    assert_int_equal(blemish_mask_load(NULL, "x.png", error), BLEMISH_ERROR_ARGUMENT);
    assert_int_equal(blemish_mask_load(&mask, "/nowhere.png", error), BLEMISH_ERROR_IO);
}

/* What was measured before another region came is dropped; the same region again changes nothing. */
static void measurements_do_not_outlive_the_scores(void **state) {
    (void)state;
    Error e = {0};
    Model m;
    BlemishModel *opened;
    char path[PATH_SIZE];
    model_make(&m, 32, 32);
    char *json = text_copy("{\"rule\":\"f1\",\"pixel_rule\":\"f1\",\"verdict\":\"combined\",\"weights\":[0.5,1,2],"
                           "\"probability\":\"isotonic\",\"points\":[[0.1,0.2],[0.5,0.9]],\"escapes\":1,\"good\":40}",
                           &e);
    assert_ok(calibration_parse(&m.calibration, json, "test", &e), e.text);
    m.metrics_json = text_copy("{\"i_auroc\":0.9}", &e);
    assert_ok(model_write(&m, path_in(path, folder, "c.blemish"), &e), e.text);
    model_close(&m);
    assert_ok(blemish_model_open(&opened, path), blemish_model_error(opened));
    BlemishImage mask = disc(64, 64);
    for (int time = 0; time < 2; time++) {
        BlemishMetrics metrics = {.images = 3};
        assert_ok(blemish_model_set_roi(opened, &mask), blemish_model_error(opened));
        const char *header = blemish_model_info(opened).header_json;
        assert_non_null(strstr(header, "\"verdict\":\"combined\",\"weights\":[0.5,1,2]"));
        assert_non_null(strstr(header, "\"probability\":\"none\""));
        assert_non_null(strstr(header, "\"rule\":\"given\""));
        assert_null(strstr(header, "points"));
        assert_null(strstr(header, "escapes"));
        assert_non_null(strstr(header, time ? "\"metrics\":{\"images\":3" : "\"metrics\":null"));
        if (time == 0) assert_ok(blemish_model_set_metrics(opened, &metrics), blemish_model_error(opened));
        assert_ok(blemish_model_save(opened, path), blemish_model_error(opened));
        blemish_model_close(opened);
        assert_ok(blemish_model_open(&opened, path), blemish_model_error(opened));
    }
    image_free(&mask);
    blemish_model_close(opened);
}

/* Another border makes other maps: a verdict by the score keeps all but what rests on those; another least area takes
 * nothing. */
static void another_border_is_another_map(void **state) {
    (void)state;
    static const struct {
        const char *verdict;
        bool map_score, of_map;
    } cases[] = {{"\"score\"", false, false},
                 {"\"score\"", true, true},
                 {"\"map\"", false, true},
                 {"\"combined\",\"weights\":[0.5,1,2]", false, true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Error e = {0};
        Model m;
        BlemishModel *opened;
        Text json = {0};
        char path[PATH_SIZE];
        model_make(&m, 32, 32);
        m.heads.map_score = cases[i].map_score;
        text_format(&json,
                    "{\"rule\":\"f1\",\"pixel_rule\":\"f1\",\"verdict\":%s,\"probability\":\"platt\",\"slope\":2,"
                    "\"intercept\":1,\"escapes\":1,\"auroc\":{\"score\":0.9}}",
                    cases[i].verdict);
        assert_ok(calibration_parse(&m.calibration, json.data, "test", &e), e.text);
        m.metrics_json = text_copy("{\"i_auroc\":0.9}", &e);
        assert_ok(model_write(&m, path_in(path, folder, "b.blemish"), &e), e.text);
        model_close(&m);
        assert_ok(blemish_model_open(&opened, path), blemish_model_error(opened));
        assert_ok(blemish_model_set_regions(opened, 9, 0), blemish_model_error(opened));
        const char *header = blemish_model_info(opened).header_json;
        assert_non_null(strstr(header, "\"rule\":\"f1\",\"pixel_rule\":\"f1\""));
        assert_non_null(strstr(header, "\"auroc\":{\"score\":0.9}"));
        assert_non_null(strstr(header, "\"metrics\":{"));
        assert_ok(blemish_model_set_regions(opened, 9, 2), blemish_model_error(opened));
        header = blemish_model_info(opened).header_json;
        assert_non_null(strstr(header, cases[i].verdict));
        assert_non_null(strstr(header, "\"pixel_rule\":\"given\""));
        assert_non_null(strstr(header, cases[i].of_map ? "\"rule\":\"given\"" : "\"rule\":\"f1\""));
        assert_non_null(strstr(header, cases[i].of_map ? "\"probability\":\"none\"" : "\"slope\":2"));
        assert_true((strstr(header, "escapes") == NULL) == cases[i].of_map);
        assert_null(strstr(header, "auroc"));
        assert_non_null(strstr(header, "\"metrics\":null"));
        /* What is kept is still what a session says. */
        BlemishSession *s;
        BlemishResult r;
        BlemishImage image;
        picture_make(&image, 32, 32, 3, 1);
        assert_ok(blemish_session_open(&s, opened, NULL), blemish_session_error(s));
        assert_ok(blemish_session_run(s, &image, 1, &r), blemish_session_error(s));
        assert_true((isnan(r.probability) != 0) == cases[i].of_map);
        blemish_session_close(s);
        image_free(&image);
        assert_ok(blemish_model_save(opened, path), blemish_model_error(opened));
        blemish_model_close(opened);
        assert_ok(blemish_model_open(&opened, path), blemish_model_error(opened));
        blemish_model_close(opened);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_outside_changes_no_bit),
        cmocka_unit_test(maps_and_regions_end_at_its_edge),
        cmocka_unit_test(overlays_are_dark_outside),
        cmocka_unit_test(galleries_are_dark_outside),
        cmocka_unit_test(misuse_is_refused),
        cmocka_unit_test(measurements_do_not_outlive_the_scores),
        cmocka_unit_test(another_border_is_another_map),
        cmocka_unit_test(regions_are_written),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
