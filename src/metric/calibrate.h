/* calibrate: thresholds, probabilities and verdicts from scores of images whose labels are known. */
#ifndef BLEMISH_METRIC_CALIBRATE_H
#define BLEMISH_METRIC_CALIBRATE_H

#include "base/base.h"
#include "net/calibration.h"

/* ---- threshold.c ----------------------------------------------------------------------------------------- */

typedef enum Rule { RULE_F1, RULE_BUDGET, RULE_ZERO_ESCAPES, RULE_COSTS, RULE_CONFORMAL, RULES } Rule;
/* "f1", "budget", "zero-escapes", "costs", "conformal". */
const char *rule_name(Rule rule);

typedef struct RuleSettings {
    double budget, confidence;      /* RULE_BUDGET: most false alarms, and how surely; in (0, 1) */
    double alpha;                   /* RULE_CONFORMAL, in (0, 1) */
    double escape_cost, alarm_cost; /* RULE_COSTS, not both 0 */
    double defect_rate;             /* RULE_COSTS, in (0, 1); NaN: as in the data */
} RuleSettings;

/* A threshold "value >= t is a defect" in [0, 1] for values in [0, 1] and labels of 0 and 1:
 *  f1: the largest F1; zero-escapes: the highest that finds every defect; costs: the least expected cost an image; of
 *  equals the highest.
 *  budget: the lowest that rejects k good images or fewer, k being the most of which Clopper and Pearson's upper bound
 *  stays within the budget. It depends on nothing but n, so that the bound holds for the threshold: it is a tolerance
 *  limit (Wilks 1941).
 *  conformal: just above the ceil((n + 1) (1 - alpha))-th of the n good values: the next good image is rejected with
 *  probability alpha at most (split conformal prediction).
 * Thresholds lie halfway between values where they may. Values outside of [0, 1] are refused. `what` names the values
 * in messages. ARGUMENT where the values cannot give what is asked for. */
BlemishStatus threshold_choose(Rule rule, const RuleSettings *settings, const char *what, const float *values,
                               const uint8_t *labels, size_t n, float *threshold, Error *e);
/* Halfway between two values, so that lower < t <= upper. */
float threshold_between(float lower, float upper);
/* The same of a double halfway between them, as metric_best_f1 and PixelMetrics give it: the smallest float that is not
 * below it. The nearest one may be `lower`, which the threshold is to pass. Within [0, 1]. */
float threshold_float(double halfway);

/* ---- logistic.c ------------------------------------------------------------------------------------------ */

enum { LOGISTIC_INPUTS_MAX = 2 };
/* Weights w[0] + sum of w[k + 1] x[i * inputs + k] of the least logistic loss against targets in [0, 1], plus
 * ridge / 2 times the squares of all weights but w[0]. Newton's method with halved steps. */
void logistic_fit(const double *x, const double *targets, size_t n, size_t inputs, double ridge, double *w);
/* Platt's probability of the value: a logistic curve over its logit, against targets smoothed by the labels' numbers
 * (Platt 1999; Lin, Lin and Weng 2007). */
BlemishStatus platt_fit(const double *x, const uint8_t *labels, size_t n, double *slope, double *intercept, Error *e);
/* w[3] of VERDICT_COMBINED: logistic regression over both logits, each scaled to unit variance, with a ridge of 1. */
BlemishStatus combination_fit(const double *score_logits, const double *map_logits, const uint8_t *labels, size_t n,
                              double w[3], Error *e);

/* ---- isotonic.c ------------------------------------------------------------------------------------------ */

/* The ascending step function nearest to the labels (pool adjacent violators), as points: the ends of its steps. */
BlemishStatus isotonic_fit(const float *values, const uint8_t *labels, size_t n, Calibration *out, Error *e);

/* ---- verdict.c ------------------------------------------------------------------------------------------- */

/* Mean AUROC over the held-out parts of 10 draws of 5 parts (fewer where a label has fewer images), indexed by
 * VerdictKind; NaN where a label has one image or none. */
BlemishStatus verdict_auroc(const float *scores, const float *peaks, const uint8_t *labels, size_t n, uint64_t seed,
                            double auroc[3], Error *e);

#endif
