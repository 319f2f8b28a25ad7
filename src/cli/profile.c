#include "profile.h"

#include <math.h>

static const char *const precisions[] = {"", "fp32", "bf16", "int8"}; // by BlemishPrecision

/* The least seconds for this work on this machine: multiply-adds at the peak or bytes at the bandwidth, whichever takes
 * longer. A stage without products computes in fp32. */
static double floor_seconds(const BlemishStage *s, const BlemishPeak *peak) {
    BlemishPrecision precision = s->precision ? s->precision : BLEMISH_PRECISION_FP32;
    double rate = peak->gmac_per_second[precision];
    return fmax(rate > 0 ? s->gmac / rate : 0, s->gb / peak->gb_per_second);
}

/* Percent of the peak's multiply-adds a second; 0 where there are none. */
static double percent_of_peak(const BlemishStage *s, const BlemishPeak *peak) {
    double rate = peak->gmac_per_second[s->precision ? s->precision : BLEMISH_PRECISION_FP32];
    return s->seconds > 0 && rate > 0 ? 100 * s->gmac / s->seconds / rate : 0;
}

static double total_seconds(const BlemishStage *stages, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += stages[i].seconds;
    return sum;
}

void profile_print(const BlemishStage *stages, size_t count, const BlemishPeak *peak, double units, const char *unit) {
    double all = total_seconds(stages, count), least = 0, gmac = 0, gb = 0;
    const double *rate = peak->gmac_per_second;
    printf("%-16s %-5s %9s %6s %9s %9s %8s %7s %7s %9s\n", unit, "", "ms", "%", "GMAC", "GB", "GMAC/s", "GB/s",
           "% peak", "floor ms");
    for (size_t i = 0; i < count; i++) {
        const BlemishStage *s = &stages[i];
        double seconds = fmax(s->seconds, 1e-12), floor = floor_seconds(s, peak);
        printf("%-16s %-5s %9.3f %6.1f %9.4f %9.5f %8.1f %7.2f %7.1f %9.3f\n", s->name, precisions[s->precision],
               1e3 * s->seconds / units, 100 * s->seconds / fmax(all, 1e-12), s->gmac / units, s->gb / units,
               s->gmac / seconds, s->gb / seconds, percent_of_peak(s, peak), 1e3 * floor / units);
        least += floor, gmac += s->gmac, gb += s->gb;
    }
    double seconds = fmax(all, 1e-12);
    printf("%-16s %-5s %9.3f %6.1f %9.4f %9.5f %8.1f %7.2f %7.1f %9.3f\n", "all", "", 1e3 * all / units, 100.0,
           gmac / units, gb / units, gmac / seconds, gb / seconds, 100 * least / seconds, 1e3 * least / units);
    printf("peak of %d threads, measured: %.0f GMAC/s fp32, %.0f bf16, %.0f int8 (oneDNN's products of 1536 x 1536 "
           "matrices), %.1f GB/s (copies of 128 MiB)\n",
           peak->threads, rate[BLEMISH_PRECISION_FP32], rate[BLEMISH_PRECISION_BF16], rate[BLEMISH_PRECISION_INT8],
           peak->gb_per_second);
    printf(
        "floor: the longer of multiply-adds at the peak and bytes at the bandwidth; %% peak of all: floor over ms\n");
}

json_t *profile_json(const BlemishStage *stages, size_t count, const BlemishPeak *peak, double units) {
    json_t *list = json_array();
    const double *rate = peak->gmac_per_second;
    for (size_t i = 0; i < count; i++) {
        const BlemishStage *s = &stages[i];
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:f, s:f, s:f, s:f, s:f}", "stage", s->name, "precision",
                                        precisions[s->precision], "ms", 1e3 * s->seconds / units, "gmac",
                                        s->gmac / units, "gb", s->gb / units, "percent_of_peak",
                                        percent_of_peak(s, peak), "floor_ms", 1e3 * floor_seconds(s, peak) / units));
    }
    return json_pack("{s:o, s:{s:i, s:f, s:f, s:f, s:f}}", "stages", list, "peak", "threads", peak->threads,
                     "fp32_gmac_per_s", rate[BLEMISH_PRECISION_FP32], "bf16_gmac_per_s", rate[BLEMISH_PRECISION_BF16],
                     "int8_gmac_per_s", rate[BLEMISH_PRECISION_INT8], "gb_per_s", peak->gb_per_second);
}
