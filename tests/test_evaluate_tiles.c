/* blemish_evaluate by tiles: pixel metrics of maps that have their images' sizes. */
#include "helper_model.h"
#include "metric/metric.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The last one has more pixels than are judged one by one, and neither side is even. */
static const size_t sizes[][2] = {{90, 130}, {300, 40}, {17, 9}, {256, 256}, {1033, 1049}};
enum { IMAGES = sizeof sizes / sizeof *sizes, TILE = 256, JUDGED = 1 << 20 };

typedef struct Values {
    size_t count, maps;
    float *values;
    uint8_t *truth;
    bool good;
} Values;

/* The largest of every 2 x 2 square of the large map, every pixel of the others. */
static int gather(void *user, const BlemishEvaluated *v) {
    Values *out = user;
    const size_t width = v->result.map_width, height = v->result.map_height;
    assert_true(width == v->image.width && height == v->image.height);
    assert_true(width == sizes[out->maps][1] && height == sizes[out->maps][0]);
    assert_true((v->mask != NULL) == (v->sample.label == BLEMISH_LABEL_DEFECT));
    const size_t k = height * width > JUDGED ? 2 : 1;
    for (size_t y = 0; y < height; y += k)
        for (size_t x = 0; x < width; x += k, out->count++)
            for (size_t b = y; b < y + k && b < height; b++)
                for (size_t a = x; a < x + k && a < width; a++) {
                    float *value = &out->values[out->count];
                    *value = fmaxf(*value, v->result.map[b * width + a]);
                    out->truth[out->count] |= v->mask && v->mask[b * width + a];
                }
    out->maps++;
    return 0;
}

static void write_image(const char *folder, size_t i, bool defect) {
    Error e = {0};
    char path[PATH_SIZE], name[32];
    BlemishImage image, mask;
    picture_make(&image, sizes[i][1], sizes[i][0], 3, i);
    assert_ok(image_new(&mask, image.width, image.height, 1, &e), e.text);
    image_pixels(&mask)[mask.width * mask.height / 2] = 255; /* one pixel: at another size it might be lost */
    for (size_t y = 0; y < mask.height / 3; y++) memset(image_pixels(&mask) + y * mask.stride, 255, mask.width / 5);
    snprintf(name, sizeof name, "%zu.png", i);
    assert_ok(image_write_png(&image, path_in(path, folder, name), &e), e.text);
    snprintf(name, sizeof name, "%zu_mask.png", i);
    if (defect) assert_ok(image_write_png(&mask, path_in(path, folder, name), &e), e.text);
    image_free(&image);
    image_free(&mask);
}

static void pixel_metrics_are_of_the_images_own_pixels(void **state) {
    (void)state;
    Error e = {0};
    char folder[PATH_SIZE], path[PATH_SIZE];
    Text csv = {0};
    BlemishDataset *d;
    BlemishModel *model;
    BlemishSession *session;
    folder_make(folder);
    text_format(&csv, "path,label,mask,split\n");
    for (size_t i = 0; i < IMAGES; i++) {
        const bool defect = i % 2 == 0;
        write_image(folder, i, defect);
        text_format(&csv, defect ? "%zu.png,defect,%zu_mask.png,test\n" : "%zu.png,good,,test\n", i, i);
    }
    assert_ok(atomic_write_file(path_in(path, folder, "set.csv"), csv.data, csv.length, &e), e.text);
    text_free(&csv);
    assert_ok(blemish_dataset_open(&d, path, NULL), blemish_dataset_error(d));
    assert_ok(blemish_model_untrained(&model, "resnet18", NULL, TILE, TILE), blemish_model_error(model));
    const BlemishSessionSettings settings = {.threads = 1, .batch = 1, .tiles = BLEMISH_TILES_ON};
    assert_ok(blemish_session_open(&session, model, &settings), blemish_session_error(session));
    BlemishMetrics m;
    BlemishIntervals intervals;
    blemish_intervals_defaults(&intervals);
    intervals.resamples = 100;
    Values v = {.values = array_new(2 * JUDGED, sizeof(float), &e), .truth = array_new(2 * JUDGED, 1, &e)};
    assert_ok(blemish_evaluate_intervals(session, d, BLEMISH_SPLIT_TEST, &m, &intervals, gather, &v, NULL, NULL),
              blemish_session_error(session));
    assert_int_equal(v.maps, IMAGES);
    assert_int_equal(m.masks, 3);
    double auroc, ap, f1, threshold;
    assert_ok(metric_auroc(v.values, v.truth, v.count, &auroc, &e), e.text);
    assert_ok(metric_average_precision(v.values, v.truth, v.count, &ap, &e), e.text);
    assert_ok(metric_best_f1(v.values, v.truth, v.count, &f1, &threshold, &e), e.text);
    /* Sums of 3e5 terms in another order. */
    assert_true(fabs(m.p_auroc - auroc) < 1e-9 && fabs(m.ap_loc - ap) < 1e-9 && fabs(m.pixel_best_f1 - f1) < 1e-9);
    assert_true(m.aupro >= 0 && m.aupro <= 1 && isfinite(intervals.aupro.low) && isfinite(intervals.ap_loc.high));
    array_free(v.values);
    array_free(v.truth);
    blemish_session_close(session);
    blemish_model_close(model);
    blemish_dataset_close(d);
    folder_remove(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(pixel_metrics_are_of_the_images_own_pixels)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
