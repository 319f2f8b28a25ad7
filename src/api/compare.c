#include "api/api.h"
#include "metric/interval.h"

#include <math.h>

BLEMISH_API void blemish_compare_defaults(BlemishCompareSettings *settings) {
    if (settings) *settings = (BlemishCompareSettings){.confidence = 0.95, .resamples = 1000};
}

BLEMISH_API const char *blemish_compared_name(BlemishComparedMetric metric) {
    static const char *const names[BLEMISH_COMPARED] = {
        "i_auroc",     "ap_det",           "best_f1", "seg_i_auroc", "seg_ap_det", "f1",           "accuracy",
        "escape_rate", "false_alarm_rate", "p_auroc", "ap_loc",      "aupro",      "pixel_best_f1"};
    return (unsigned)metric < BLEMISH_COMPARED ? names[metric] : NULL;
}

static BlemishStatus check_run(const BlemishRun *run, size_t k, size_t n, Error *e) {
    if (run->scores == NULL || run->map_maxima == NULL || run->defects == NULL)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "run %zu: found a null pointer", k + 1);
    for (size_t i = 0; i < n; i++) {
        if (isfinite(run->scores[i]) && isfinite(run->map_maxima[i])) continue;
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "run %zu: image %zu: found %g and %g, expected finite numbers",
                         k + 1, i + 1, (double)run->scores[i], (double)run->map_maxima[i]);
    }
    for (size_t i = 0; run->pixels_resampled && i < 4 * run->pixel_resamples; i++)
        if (isinf(run->pixels_resampled[i]))
            return error_set(e, BLEMISH_ERROR_ARGUMENT, "run %zu: pixels_resampled: found %g, expected finite numbers",
                             k + 1, run->pixels_resampled[i]);
    return BLEMISH_OK;
}

BLEMISH_API BlemishStatus blemish_compare(const BlemishRun *runs, size_t count, const uint8_t *labels, size_t n,
                                          const BlemishCompareSettings *settings, BlemishCompared *out, char *error) {
    Error e = {0};
    BlemishCompareSettings s;
    blemish_compare_defaults(&s);
    if (settings) s = *settings;
    if (runs == NULL || labels == NULL || out == NULL)
        error_null(&e, runs == NULL ? "runs" : labels == NULL ? "labels" : "out");
    else if (count == 0 || n == 0)
        error_set(&e, BLEMISH_ERROR_ARGUMENT, "comparison: found %zu runs over %zu images, expected some", count, n);
    else if (check_resampling(s.confidence, s.resamples, &e) == BLEMISH_OK) {
        const Bootstrap b = {s.confidence, s.resamples, s.seed};
        BlemishStatus status = BLEMISH_OK;
        for (size_t k = 0; k < count && status == BLEMISH_OK; k++) status = check_run(&runs[k], k, n, &e);
        if (status == BLEMISH_OK) bootstrap_paired(&b, runs, count, labels, n, out, &e);
    }
    return error_report(&e, error);
}
