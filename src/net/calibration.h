/* calibration: which value a model judges an image by and which probability that value means (docs/model-file.md). */
#ifndef BLEMISH_CALIBRATION_H
#define BLEMISH_CALIBRATION_H

#include "base/base.h"

typedef enum VerdictKind { VERDICT_SCORE, VERDICT_MAP, VERDICT_COMBINED } VerdictKind;
typedef enum ProbabilityKind { PROBABILITY_NONE, PROBABILITY_PLATT, PROBABILITY_ISOTONIC } ProbabilityKind;

/* All zeros: the score itself, no probability. */
typedef struct Calibration {
    VerdictKind verdict;
    double weights[3]; /* combined: sigmoid(w0 + w1 logit(score) + w2 logit(map maximum)) */
    ProbabilityKind probability;
    double slope, intercept; /* Platt: sigmoid(slope * logit(value) + intercept) */
    size_t points;           /* isotonic: straight lines between (x, p), level outside; x ascending */
    double *x, *p;
    char *json; /* the object as the file holds it, with how all this was chosen; NULL without one */
} Calibration;

enum { CALIBRATION_POINTS_MAX = 1 << 16 };

/* "score", "map", "combined"; "none", "platt", "isotonic". */
const char *verdict_name(VerdictKind verdict);
const char *probability_name(ProbabilityKind probability);

/* log(p / (1 - p)), p kept away from 0 and 1 by 1e-7, where 32-bit scores have no more digits. */
double probability_logit(double p);
double probability_sigmoid(double x);

/* What is compared with the threshold, in [0, 1], from the network's score and its map's largest value. */
float calibration_value(const Calibration *c, float score, float map_max);
/* NaN without a probability. */
float calibration_probability(const Calibration *c, float value);

/* Reads an object's text, which *c owns from then on (malloc-owned; freed on failure too); `path` names the file in
 * messages. */
BlemishStatus calibration_parse(Calibration *c, char *json, const char *path, Error *e);
/* The fields that calibration_parse reads, without braces: "verdict":...,"probability":... */
void calibration_write(const Calibration *c, Text *out);
/* The thresholds are others now: says so in json and drops what was true of the old ones. */
BlemishStatus calibration_set_by_hand(Calibration *c, Error *e);
/* The scores are others now: the same, and it drops the probabilities. */
BlemishStatus calibration_set_stale(Calibration *c, Error *e);
/* The maps are others now: the same where the verdict is made of them, as with map_score the score itself is; else only
 * the pixel threshold is a given one, and what the maps' verdicts would reach is dropped. */
BlemishStatus calibration_set_maps_stale(Calibration *c, bool map_score, Error *e);
void calibration_close(Calibration *c);

#endif
