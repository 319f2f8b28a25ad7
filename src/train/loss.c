#include "train/loss.h"

#include <math.h>
#include <string.h>

#define MARGIN 0.5 /* th of the truncated L1 terms */

/* Focal loss with exponent 4 of a logit whose target is 1 (for target 0 pass -x and negate the derivative):
 * (1 - p)^4 * -log p, written with q = 1 - p so that nothing cancels. */
static double focal(double x, double *derivative) {
    const double p = 1.0 / (1.0 + exp(-x)), q = 1.0 / (1.0 + exp(x));
    const double log_p = x > 0 ? -log1p(exp(-x)) : x - log1p(exp(x));
    const double q4 = q * q * q * q;
    *derivative = q4 * (4.0 * p * log_p - q);
    return -q4 * log_p;
}

typedef struct Counts {
    size_t good, bad; /* pixels of the images whose segmentation loss is on */
} Counts;

static Counts count_pixels(const LossInput *in) {
    Counts n = {0};
    for (size_t s = 0; s < in->samples; s++) {
        if (!in->segmented[s]) continue;
        size_t bad = 0;
        for (size_t i = 0; i < in->pixels; i++) bad += in->mask[s * in->pixels + i];
        n.bad += bad;
        n.good += in->pixels - bad;
    }
    return n;
}

/* One image's terms; what is summed here is divided by the counts. */
static void image_terms(const LossInput *in, size_t s, Counts n, LossTerms *terms, float *dmap) {
    const size_t first = s * in->pixels;
    const double all = (double)(n.good + n.bad);
    for (size_t i = first; i < first + in->pixels; i++) {
        const double sign = in->mask[i] ? 1.0 : -1.0, w = in->weight ? (double)in->weight[i] : 1.0;
        const double x = sign * (double)in->map[i], slack = MARGIN - x;
        const double share = in->mask[i] ? (double)n.bad : (double)n.good;
        double derivative;
        terms->focal_map += w * focal(x, &derivative) / all;
        double d = w * derivative / all;
        if (slack > 0) {
            *(in->mask[i] ? &terms->l1_bad : &terms->l1_good) += w * slack / share;
            d -= w / share;
        }
        dmap[i] = (float)(sign * d);
    }
}

void loss_terms(const LossInput *in, LossTerms *terms, float *dmap, float *dscore) {
    const Counts n = count_pixels(in);
    *terms = (LossTerms){0};
    memset(dmap, 0, in->samples * in->pixels * sizeof *dmap);
    memset(dscore, 0, in->samples * sizeof *dscore);
    /* One image after the other, so that the sums do not depend on the number of threads. */
    for (size_t s = 0; s < in->samples; s++) {
        if (in->segmented[s]) image_terms(in, s, n, terms, dmap);
        if (in->unscored) continue;
        const double sign = in->label[s] ? 1.0 : -1.0;
        double derivative;
        terms->focal_score += focal(sign * (double)in->score[s], &derivative) / (double)in->samples;
        dscore[s] = (float)(sign * derivative / (double)in->samples);
    }
    terms->total = terms->l1_good + terms->l1_bad + terms->focal_map + terms->focal_score;
}
