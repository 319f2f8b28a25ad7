/* The public functions on an untrained network: what they compute, and what they refuse. */
#include "helper_model.h"
#include "api/api.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tiffio.h>
#include <unistd.h>

static char folder[PATH_SIZE];
static BlemishModel *model; /* resnet18 with test values, 64 x 96 */

static int open_all(void **state) {
    (void)state;
    folder_make(folder);
    return blemish_model_untrained(&model, "resnet18", NULL, 64, 96);
}

static int close_all(void **state) {
    (void)state;
    blemish_model_close(model);
    folder_remove(folder);
    return 0;
}

static BlemishSession *session_new(int threads, size_t batch) {
    BlemishSessionSettings settings;
    BlemishSession *s;
    blemish_session_defaults(&settings);
    settings.threads = threads;
    settings.batch = batch;
    assert_ok(blemish_session_open(&s, model, &settings), blemish_session_error(s));
    return s;
}

/* ---- models ---------------------------------------------------------------------------------------------- */

static void models_tell_what_they_are(void **state) {
    (void)state;
    BlemishModelInfo info = blemish_model_info(model);
    assert_string_equal(info.backbone, "resnet18");
    assert_string_equal(info.variant, "jims");
    assert_string_equal(info.regime, "none");
    assert_int_equal(info.height, 64);
    assert_int_equal(info.width, 96);
    assert_int_equal(info.map_height, 16);
    assert_int_equal(info.map_width, 24);
    assert_true(info.threshold == 0.5f && info.pixel_threshold == 0.5f);
    assert_non_null(strstr(info.header_json, "\"backbone\":\"resnet18\""));
}

static void saved_models_open_with_their_settings(void **state) {
    (void)state;
    char path[PATH_SIZE];
    BlemishModel *m, *back;
    assert_ok(blemish_model_untrained(&m, "resnet18", NULL, 32, 33), blemish_model_error(m));
    assert_ok(blemish_model_set_thresholds(m, 0.25f, 0.75f), blemish_model_error(m));
    BlemishMetrics metrics = {.images = 7, .i_auroc = 0.5, .aupro = NAN};
    assert_ok(blemish_model_set_metrics(m, &metrics), blemish_model_error(m));
    assert_ok(blemish_model_save(m, path_in(path, folder, "m.blemish")), blemish_model_error(m));
    assert_ok(blemish_model_open(&back, path), blemish_model_error(back));
    BlemishModelInfo info = blemish_model_info(back);
    assert_true(info.threshold == 0.25f && info.pixel_threshold == 0.75f);
    assert_int_equal(info.width, 33);
    assert_non_null(strstr(info.header_json, "\"metrics\":{\"images\":7,"));
    assert_non_null(strstr(info.header_json, "\"aupro\":null"));
    assert_string_equal(info.header_json, blemish_model_info(m).header_json);
    blemish_model_close(m);
    blemish_model_close(back);
}

static void models_refuse(void **state) {
    (void)state;
    BlemishModel *m;
    char path[PATH_SIZE];
    assert_int_equal(blemish_model_untrained(&m, "resnet19", NULL, 64, 64), BLEMISH_ERROR_ARGUMENT);
    assert_non_null(strstr(blemish_model_error(m), "resnet19"));
    assert_string_equal(blemish_model_info(m).header_json, "{}");
    assert_int_equal(blemish_model_save(m, path_in(path, folder, "x")), BLEMISH_ERROR_ARGUMENT);
    BlemishSession *s;
    assert_int_equal(blemish_session_open(&s, m, NULL), BLEMISH_ERROR_ARGUMENT);
    blemish_session_close(s);
    blemish_model_close(m);
    assert_int_equal(blemish_model_untrained(&m, "resnet18", NULL, 31, 64), BLEMISH_ERROR_ARGUMENT);
    blemish_model_close(m);
    assert_int_equal(blemish_model_untrained(&m, "resnet18", path, 64, 64), BLEMISH_ERROR_IO);
    assert_non_null(strstr(blemish_model_error(m), path));
    blemish_model_close(m);
    assert_int_equal(blemish_model_untrained(&m, NULL, NULL, 64, 64), BLEMISH_ERROR_ARGUMENT);
    blemish_model_close(m);
    assert_int_equal(blemish_model_open(&m, path), BLEMISH_ERROR_IO);
    assert_non_null(strstr(blemish_model_error(m), path));
    blemish_model_close(m);
    assert_int_equal(blemish_model_open(&m, NULL), BLEMISH_ERROR_ARGUMENT);
    blemish_model_close(m);
    const float bad[] = {-0.1f, 1.1f, NAN, INFINITY};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(blemish_model_set_thresholds(model, bad[i], 0.5f), BLEMISH_ERROR_ARGUMENT);
        assert_int_equal(blemish_model_set_thresholds(model, 0.5f, bad[i]), BLEMISH_ERROR_ARGUMENT);
    }
    assert_true(blemish_model_info(model).threshold == 0.5f);
}

/* ---- sessions -------------------------------------------------------------------------------------------- */

static void results_are_consistent(void **state) {
    (void)state;
    BlemishSession *s = session_new(1, 1);
    BlemishImage image;
    BlemishResult r;
    picture_make(&image, 123, 77, 3, 1);
    assert_ok(blemish_session_run(s, &image, 1, &r), blemish_session_error(s));
    assert_int_equal(r.map_width, 96);
    assert_int_equal(r.map_height, 64);
    assert_int_equal(r.image_width, 123);
    assert_int_equal(r.image_height, 77);
    assert_true(r.score > 0 && r.score < 1);
    float largest = 0;
    for (size_t i = 0; i < 64 * 96; i++) largest = fmaxf(largest, r.map[i]);
    assert_true(largest == r.map_max && largest > 0);
    /* The verdict is score >= threshold, whatever the threshold. */
    assert_ok(blemish_model_set_thresholds(model, r.score, 0.5f), "");
    assert_ok(blemish_session_run(s, &image, 1, &r), blemish_session_error(s));
    assert_int_equal(r.defect, 1);
    assert_ok(blemish_model_set_thresholds(model, nextafterf(r.score, 1), 0.5f), "");
    assert_ok(blemish_session_run(s, &image, 1, &r), blemish_session_error(s));
    assert_int_equal(r.defect, 0);
    assert_ok(blemish_model_set_thresholds(model, 0.5f, 0.5f), "");
    image_free(&image);
    blemish_session_close(s);
}

static void pixels_mean_the_same_in_every_form(void **state) {
    (void)state;
    BlemishSession *s = session_new(1, 1);
    BlemishImage grey, rgb, wide;
    Error e = {0};
    picture_make(&grey, 100, 80, 1, 2);
    assert_ok(image_new(&rgb, 100, 80, 3, &e), e.text);
    assert_ok(image_new(&wide, 110, 80, 3, &e), e.text); /* its first 100 columns are the image */
    memset(image_pixels(&wide), 200, wide.stride * 80);
    for (size_t y = 0; y < 80; y++)
        for (size_t x = 0; x < 100; x++) {
            memset(image_pixels(&rgb) + y * rgb.stride + 3 * x, grey.data[y * grey.stride + x], 3);
            memset(image_pixels(&wide) + y * wide.stride + 3 * x, grey.data[y * grey.stride + x], 3);
        }
    BlemishImage view = {.data = wide.data, .width = 100, .height = 80, .stride = wide.stride, .channels = 3};
    const BlemishImage *forms[3] = {&grey, &rgb, &view};
    float scores[3];
    for (int i = 0; i < 3; i++) {
        BlemishResult r;
        assert_ok(blemish_session_run(s, forms[i], 1, &r), blemish_session_error(s));
        scores[i] = r.score;
    }
    assert_true(scores[0] == scores[1] && scores[0] == scores[2]);
    image_free(&grey);
    image_free(&rgb);
    image_free(&wide);
    blemish_session_close(s);
}

/* A batch may be summed in another order inside the convolutions: float rounding through 20 layers. */
#define BATCH_TOLERANCE 2e-5f

static void batches_and_remainders_equal_single_images(void **state) {
    (void)state;
    enum { BATCH = 3 };
    BlemishSession *one = session_new(2, 1), *many = session_new(2, BATCH);
    BlemishImage images[BATCH];
    BlemishResult expected, results[BATCH];
    for (size_t i = 0; i < BATCH; i++) picture_make(&images[i], 90 + 10 * i, 70, i == 1 ? 1 : 3, i);
    for (size_t count = BATCH; count >= 1; count--) {
        assert_ok(blemish_session_run(many, images, count, results), blemish_session_error(many));
        for (size_t i = 0; i < count; i++) {
            assert_ok(blemish_session_run(one, &images[i], 1, &expected), blemish_session_error(one));
            assert_true(fabsf(expected.score - results[i].score) < BATCH_TOLERANCE);
            assert_int_equal(results[i].image_width, 90 + 10 * i);
            for (size_t k = 0; k < 64 * 96; k++)
                assert_true(fabsf(expected.map[k] - results[i].map[k]) < BATCH_TOLERANCE);
        }
    }
    for (size_t i = 0; i < BATCH; i++) image_free(&images[i]);
    blemish_session_close(one);
    blemish_session_close(many);
}

enum { RUNS = 12, PICTURES = 4 };
typedef struct Worker {
    BlemishSession *session;
    const BlemishImage *images;
    float scores[RUNS], maps[RUNS][64 * 96];
} Worker;

static void *work(void *argument) {
    Worker *w = argument;
    for (size_t i = 0; i < RUNS; i++) {
        BlemishResult r = {.score = NAN};
        if (blemish_session_run(w->session, &w->images[i % PICTURES], 1, &r)) break;
        w->scores[i] = r.score;
        memcpy(w->maps[i], r.map, sizeof w->maps[i]);
    }
    return NULL;
}

static void sessions_run_side_by_side(void **state) {
    (void)state;
    Error e = {0};
    BlemishImage images[2 * PICTURES];
    for (size_t i = 0; i < 2 * PICTURES; i++) picture_make(&images[i], 60 + 7 * i, 50 + 3 * i, 3, 40 + i);
    for (int threads = 1; threads <= 2; threads++) {
        Worker *workers = array_new(4, sizeof *workers, &e); /* two alone, the same two together */
        pthread_t running[2];
        for (size_t i = 0; i < 4; i++) {
            workers[i].session = session_new(threads, 1);
            workers[i].images = images + i % 2 * PICTURES;
        }
        work(&workers[0]);
        work(&workers[1]);
        for (size_t i = 0; i < 2; i++) assert_int_equal(pthread_create(&running[i], NULL, work, &workers[2 + i]), 0);
        for (size_t i = 0; i < 2; i++) pthread_join(running[i], NULL);
        for (size_t i = 0; i < 2; i++) {
            assert_true(workers[i].scores[RUNS - 1] > 0);
            assert_memory_equal(workers[i].scores, workers[2 + i].scores, sizeof workers[i].scores);
            assert_memory_equal(workers[i].maps, workers[2 + i].maps, sizeof workers[i].maps);
        }
        for (size_t i = 0; i < 4; i++) blemish_session_close(workers[i].session);
        array_free(workers);
    }
    for (size_t i = 0; i < 2 * PICTURES; i++) image_free(&images[i]);
}

static float bilinear(const float *in, size_t h, size_t w, size_t height, size_t width, size_t y, size_t x) {
    double v = fmin(fmax(((double)y + 0.5) * (double)h / (double)height - 0.5, 0), (double)(h - 1));
    double u = fmin(fmax(((double)x + 0.5) * (double)w / (double)width - 0.5, 0), (double)(w - 1));
    size_t y0 = (size_t)v, x0 = (size_t)u, y1 = y0 + 1 < h ? y0 + 1 : y0, x1 = x0 + 1 < w ? x0 + 1 : x0;
    double b = v - (double)y0, a = u - (double)x0;
    return (float)((1 - b) * ((1 - a) * (double)in[y0 * w + x0] + a * (double)in[y0 * w + x1]) +
                   b * ((1 - a) * (double)in[y1 * w + x0] + a * (double)in[y1 * w + x1]));
}

static void maps_and_regions_come_at_image_size(void **state) {
    (void)state;
    enum { W = 131, H = 87 };
    Error e = {0};
    BlemishSession *s = session_new(1, 1);
    BlemishImage image;
    BlemishResult r;
    static float map[H * W];
    picture_make(&image, W, H, 3, 6);
    assert_ok(blemish_session_run(s, &image, 1, &r), blemish_session_error(s));
    assert_ok(blemish_session_map_at_image_size(s, &r, map), blemish_session_error(s));
    float low = 1, high = 0;
    for (size_t y = 0; y < H; y++)
        for (size_t x = 0; x < W; x++) {
            assert_true(fabsf(map[y * W + x] - bilinear(r.map, 64, 96, H, W, y, x)) < 1e-6f); /* float rounding */
            low = fminf(low, map[y * W + x]);
            high = fmaxf(high, map[y * W + x]);
        }
    Regions expected = {0};
    for (int i = 0; i <= 4; i++) { /* everything, some, nothing */
        float threshold = fminf(low + (high - low) * (float)i / 3.5f, 1);
        const BlemishRegion *regions;
        size_t count;
        assert_ok(blemish_model_set_thresholds(model, 0.5f, threshold), "");
        assert_ok(blemish_session_regions(s, &r, &regions, &count), blemish_session_error(s));
        assert_ok(regions_find(&expected, map, H, W, (RegionRules){.threshold = threshold}, &e), e.text);
        assert_int_equal(count, expected.count);
        assert_true(i == 0 ? count == 1 && regions[0].area == H * W : i < 4 || count == 0);
        for (size_t k = 0; k < count; k++) {
            assert_true(regions[k].peak == expected.list[k].peak);
            assert_int_equal(regions[k].area, expected.list[k].area);
            assert_int_equal(regions[k].x, expected.list[k].x);
            assert_int_equal(regions[k].y, expected.list[k].y);
        }
    }
    regions_close(&expected);
    assert_ok(blemish_model_set_thresholds(model, 0.5f, 0.5f), "");
    image_free(&image);
    blemish_session_close(s);
}

/* Against the same image without a border; the score without the classification head is the largest value that counts.
 */
static void a_border_is_ignored(void **state) {
    (void)state;
    enum { W = 131, H = 87, MAP = 64 * 96, BORDER = 17 };
    BlemishSession *s = session_new(1, 1);
    BlemishImage image;
    BlemishResult r;
    static float plain[MAP], large[W * H], plain_large[W * H];
    const BlemishRegion *regions;
    size_t count;
    picture_make(&image, W, H, 3, 6);
    assert_ok(blemish_session_run(s, &image, 1, &r), blemish_session_error(s));
    const float score = r.score;
    memcpy(plain, r.map, sizeof plain);
    assert_ok(blemish_session_map_at_image_size(s, &r, plain_large), blemish_session_error(s));

    assert_ok(blemish_model_set_regions(model, 0, BORDER), blemish_model_error(model));
    assert_int_equal(blemish_model_info(model).border, BORDER);
    for (int map_score = 0; map_score < 2; map_score++) {
        model->model.heads.map_score = map_score;
        assert_ok(blemish_session_run(s, &image, 1, &r), blemish_session_error(s));
        float most = 0;
        size_t cleared = 0;
        for (size_t i = 0; i < MAP; i++) {
            const double y = ((double)(i / 96) + 0.5) * H / 64, x = ((double)(i % 96) + 0.5) * W / 96;
            const bool inside = y >= BORDER && y <= H - BORDER && x >= BORDER && x <= W - BORDER;
            assert_true(r.map[i] == (inside ? plain[i] : 0.0f));
            most = inside ? fmaxf(most, plain[i]) : most;
            cleared += !inside;
        }
        assert_true(cleared > 0 && cleared < MAP);
        assert_true(r.map_max == most && r.score == (map_score ? most : score));
    }
    model->model.heads.map_score = false;
    assert_ok(blemish_session_map_at_image_size(s, &r, large), blemish_session_error(s));
    for (size_t i = 0; i < W * H; i++) {
        const size_t y = i / W, x = i % W;
        const bool inside = y >= BORDER && y < H - BORDER && x >= BORDER && x < W - BORDER;
        assert_true(inside ? large[i] <= plain_large[i] + 1e-6f : large[i] == 0); /* float rounding */
        if (y > BORDER + 2 && y < H - BORDER - 3 && x > BORDER + 2 && x < W - BORDER - 3)
            assert_true(large[i] == plain_large[i]); /* beyond one map pixel nothing of the border is blended in */
    }
    /* At threshold 0 all that is left of the border is one region; a least area drops it, the verdict stays. */
    assert_ok(blemish_model_set_thresholds(model, 0.5f, 0), "");
    assert_ok(blemish_session_regions(s, &r, &regions, &count), blemish_session_error(s));
    const size_t area = (W - 2 * BORDER) * (H - 2 * BORDER);
    assert_int_equal(count, 1);
    assert_true(regions[0].area == area && regions[0].x == BORDER && regions[0].y == BORDER);
    assert_true(regions[0].centroid_x == (W - 1) / 2.0 && regions[0].centroid_y == (H - 1) / 2.0);
    for (size_t more = 0; more < 2; more++) {
        assert_ok(blemish_model_set_regions(model, area + more, BORDER), blemish_model_error(model));
        assert_ok(blemish_session_run(s, &image, 1, &r), blemish_session_error(s));
        assert_true(r.score == score);
        assert_ok(blemish_session_regions(s, &r, &regions, &count), blemish_session_error(s));
        assert_int_equal(count, 1 - more);
    }
    /* 43 leaves one row of the image, but no row of the map; 44 leaves neither. */
    for (size_t border = 43; border <= 44; border++) {
        assert_ok(blemish_model_set_regions(model, 0, border), "");
        assert_int_equal(blemish_session_run(s, &image, 1, &r), BLEMISH_ERROR_ARGUMENT);
        assert_non_null(strstr(blemish_session_error(s), "which leave nothing of 131x87"));
    }
    assert_ok(blemish_model_set_regions(model, 0, 42), "");
    assert_ok(blemish_session_run(s, &image, 1, &r), blemish_session_error(s));

    assert_int_equal(blemish_model_set_regions(NULL, 0, 0), BLEMISH_ERROR_ARGUMENT);
    assert_int_equal(blemish_model_set_regions(model, BLEMISH_MIN_AREA_MAX + 1, 0), BLEMISH_ERROR_ARGUMENT);
    assert_non_null(strstr(blemish_model_error(model), "min_area: found 268435457, expected 0 to 268435456"));
    assert_int_equal(blemish_model_set_regions(model, 0, SIZE_MAX), BLEMISH_ERROR_ARGUMENT);
    assert_non_null(strstr(blemish_model_error(model), "border: found 18446744073709551615, expected 0 to 65500"));
    assert_int_equal(blemish_model_info(model).border, 42); /* what was refused changed nothing */
    assert_ok(blemish_model_set_regions(model, 0, 0), "");
    assert_ok(blemish_model_set_thresholds(model, 0.5f, 0.5f), "");
    image_free(&image);
    blemish_session_close(s);
}

static void pictures_are_written(void **state) {
    (void)state;
    BlemishSession *s = session_new(1, 1);
    BlemishImage image, overlay;
    BlemishResult r;
    char path[PATH_SIZE], error[BLEMISH_ERROR_SIZE];
    picture_make(&image, 141, 90, 1, 7);
    assert_ok(blemish_session_run(s, &image, 1, &r), blemish_session_error(s));
    assert_ok(blemish_model_set_thresholds(model, 0.5f, 0.9f * r.map_max), "");
    const BlemishRegion *regions;
    size_t count;
    assert_ok(blemish_session_regions(s, &r, &regions, &count), blemish_session_error(s));
    assert_true(count >= 1);
    BlemishRegion first = regions[0];
    assert_ok(blemish_session_write_overlay(s, &image, &r, path_in(path, folder, "o.png")), blemish_session_error(s));
    assert_true(first.peak == regions[0].peak && first.area == regions[0].area); /* the list outlives the drawing */
    assert_ok(blemish_image_load(&overlay, path, error), error);
    assert_int_equal(overlay.width, 141);
    assert_int_equal(overlay.height, 90);
    const uint8_t white[3] = {255, 255, 255};
    assert_memory_equal(overlay.data + first.y * overlay.stride + 3 * first.x, white, 3); /* its box's corner */
    blemish_image_free(&overlay);
    assert_ok(blemish_session_write_map(s, &r, path_in(path, folder, "o.tiff")), blemish_session_error(s));
    static float map[141 * 90], row[141];
    assert_ok(blemish_session_map_at_image_size(s, &r, map), blemish_session_error(s));
    TIFF *tiff = TIFFOpen(path, "r");
    assert_non_null(tiff);
    assert_int_equal(TIFFScanlineSize(tiff), sizeof row);
    for (uint32_t y = 0; y < 90; y++) {
        assert_int_equal(TIFFReadScanline(tiff, row, y, 0), 1);
        assert_memory_equal(row, map + y * 141, sizeof row);
    }
    TIFFClose(tiff);

    assert_int_equal(blemish_session_write_map(s, &r, path_in(path, folder, "absent/o.tiff")), BLEMISH_ERROR_IO);
    assert_non_null(strstr(blemish_session_error(s), "absent/o.tiff"));
    image.height--;
    assert_int_equal(blemish_session_write_overlay(s, &image, &r, path), BLEMISH_ERROR_ARGUMENT);
    image.height++;
    assert_ok(blemish_model_set_thresholds(model, 0.5f, 0.5f), "");
    image_free(&image);
    blemish_session_close(s);
}

static void files_run_like_their_pixels(void **state) {
    (void)state;
    BlemishSession *s = session_new(1, 2);
    BlemishImage image;
    BlemishResult a, b;
    char path[PATH_SIZE];
    Error e = {0};
    picture_make(&image, 70, 50, 3, 8);
    assert_ok(image_write_png(&image, path_in(path, folder, "p.png"), &e), e.text);
    assert_ok(blemish_session_run(s, &image, 1, &a), blemish_session_error(s));
    assert_ok(blemish_session_run_file(s, path, &b), blemish_session_error(s));
    assert_true(a.score == b.score && b.image_width == 70 && b.image_height == 50);
    assert_int_equal(blemish_session_run_file(s, path_in(path, folder, "absent.png"), &b), BLEMISH_ERROR_IO);
    assert_non_null(strstr(blemish_session_error(s), path));
    assert_ok(blemish_session_run(s, &image, 1, &a), "a failure does not stick");
    image_free(&image);
    blemish_session_close(s);
}

static void sessions_refuse(void **state) {
    (void)state;
    BlemishSession *s = session_new(1, 2);
    BlemishImage good, bad;
    BlemishResult r[2];
    picture_make(&good, 40, 40, 3, 9);
    assert_int_equal(blemish_session_run(s, &good, 0, r), BLEMISH_ERROR_ARGUMENT);
    assert_int_equal(blemish_session_run(s, &good, 3, r), BLEMISH_ERROR_ARGUMENT);
    assert_string_equal(blemish_session_error(s), "count: found 3 images, expected 1 to 2");
    assert_int_equal(blemish_session_run(s, NULL, 1, r), BLEMISH_ERROR_ARGUMENT);
    assert_int_equal(blemish_session_run(s, &good, 1, NULL), BLEMISH_ERROR_ARGUMENT);
    for (int i = 0; i < 7; i++) {
        bad = good;
        if (i == 0) bad.data = NULL;
        if (i == 1) bad.width = 0;
        if (i == 2) bad.height = 0;
        if (i == 3) bad.channels = 4;
        if (i == 4) bad.stride = 3 * 40 - 1;
        if (i == 5) bad.width = SIZE_MAX / 2;
        if (i == 6) bad.height = SIZE_MAX / 2;
        assert_int_equal(blemish_session_run(s, &bad, 1, r), BLEMISH_ERROR_ARGUMENT);
        assert_true(strncmp(blemish_session_error(s), "image 0: ", 9) == 0);
    }
    assert_ok(blemish_session_run(s, &good, 1, r), blemish_session_error(s));
    BlemishResult foreign = r[0];
    foreign.map_width--;
    float pixels[40 * 40];
    assert_int_equal(blemish_session_map_at_image_size(s, &foreign, pixels), BLEMISH_ERROR_ARGUMENT);
    assert_int_equal(blemish_session_map_at_image_size(s, r, NULL), BLEMISH_ERROR_ARGUMENT);
    image_free(&good);
    blemish_session_close(s);

    BlemishSessionSettings settings;
    const struct {
        int threads;
        BlemishPrecision precision;
        size_t batch;
        BlemishStatus status;
    } cases[] = {{-1, 0, 1, BLEMISH_ERROR_ARGUMENT}, {100000, 0, 1, BLEMISH_ERROR_ARGUMENT},
                 {1, 0, 0, BLEMISH_ERROR_ARGUMENT},  {1, 0, SIZE_MAX, BLEMISH_ERROR_ARGUMENT},
                 {1, 7, 1, BLEMISH_ERROR_ARGUMENT},  {1, BLEMISH_PRECISION_INT8, 1, BLEMISH_ERROR_UNSUPPORTED}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        blemish_session_defaults(&settings);
        settings.threads = cases[i].threads;
        settings.precision = cases[i].precision;
        settings.batch = cases[i].batch;
        assert_int_equal(blemish_session_open(&s, model, &settings), cases[i].status);
        assert_true(strlen(blemish_session_error(s)) > 0);
        assert_int_equal(blemish_session_run(s, &good, 1, r), BLEMISH_ERROR_ARGUMENT);
        blemish_session_close(s);
    }
    assert_int_equal(blemish_session_open(&s, NULL, NULL), BLEMISH_ERROR_ARGUMENT);
    blemish_session_close(s);
    blemish_session_close(NULL);
}

static void cost_counts_both_graphs(void **state) {
    (void)state;
    BlemishModel *m;
    BlemishSession *s;
    assert_ok(blemish_model_untrained(&m, "resnet18", NULL, 256, 256), blemish_model_error(m));
    assert_ok(blemish_session_open(&s, m, NULL), blemish_session_error(s));
    BlemishSessionCost c = blemish_session_cost(s);
    /* ResNet18 to layer3 at 256 x 256, from its layers' shapes: stem 7*7*3*64 at 128^2; layer1 four 3*3*64*64 at 64^2;
     * layer2 (64 + 3 * 128) * 9 * 128 + 64 * 128 at 32^2; layer3 (128 + 3 * 256) * 9 * 256 + 128 * 256 at 16^2. */
    double backbone = 9408.0 * 16384 + 4 * 36864.0 * 4096 + (448 * 1152.0 + 8192) * 1024 + (896 * 2304.0 + 32768) * 256;
    double heads = (384.0 * 384 + 1024 * 385 + 25 * 385 * 128) * 4096;
    assert_true(fabs(c.gmac_published - 1e-9 * (backbone + heads)) < 1e-6);
    assert_true(c.gmac > 1e-9 * backbone && c.gmac < c.gmac_published / 2);
    assert_string_equal(c.precision, "fp32");
    assert_true(c.threads >= 1);
    blemish_session_close(s);
    blemish_model_close(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(models_tell_what_they_are),
        cmocka_unit_test(saved_models_open_with_their_settings),
        cmocka_unit_test(models_refuse),
        cmocka_unit_test(results_are_consistent),
        cmocka_unit_test(pixels_mean_the_same_in_every_form),
        cmocka_unit_test(batches_and_remainders_equal_single_images),
        cmocka_unit_test(sessions_run_side_by_side),
        cmocka_unit_test(maps_and_regions_come_at_image_size),
        cmocka_unit_test(a_border_is_ignored),
        cmocka_unit_test(pictures_are_written),
        cmocka_unit_test(files_run_like_their_pixels),
        cmocka_unit_test(sessions_refuse),
        cmocka_unit_test(cost_counts_both_graphs),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
