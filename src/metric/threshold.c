#include "metric/calibrate.h"
#include "metric/interval.h"
#include "metric/ranking.h"

#include <math.h>

static const char *const rules[RULES] = {"f1", "budget", "zero-escapes", "costs", "conformal"};

const char *rule_name(Rule rule) {
    return rules[rule];
}

float threshold_between(float lower, float upper) {
    const float middle = (float)(((double)lower + (double)upper) / 2);
    return middle > lower ? middle : upper;
}

float threshold_float(double halfway) {
    const float inside = (float)fmin(fmax(halfway, 0), 1);
    return (double)inside < halfway ? fminf(nextafterf(inside, 2), 1) : inside;
}

/* Values from the highest down; what a threshold just below the i-th of them accepts. */
typedef struct Values {
    uint64_t *items; /* region: 1 + label */
    size_t n, good, defects;
} Values;

static bool defective(const Values *v, size_t i) {
    return item_region(v->items[i]) == 2;
}

static float value_at(const Values *v, size_t i) {
    return key_score(item_key(v->items[i]));
}

/* The threshold that accepts the first `count` values and no other; false where ties or the end of [0, 1] forbid. */
static bool threshold_after(const Values *v, size_t count, float *threshold) {
    const float upper = count ? value_at(v, count - 1) : 1, lower = count < v->n ? value_at(v, count) : upper;
    if (count == v->n || lower < upper) {
        *threshold = count == v->n ? upper : threshold_between(lower, upper);
        return true;
    }
    return false;
}

static double cost_of(const RuleSettings *s, const Values *v, size_t alarms, size_t escapes) {
    const double rate = isnan(s->defect_rate) ? (double)v->defects / (double)v->n : s->defect_rate;
    return rate * s->escape_cost * (double)escapes / (double)v->defects +
           (1 - rate) * s->alarm_cost * (double)alarms / (double)v->good;
}

/* How bad a threshold is by that rule; thresholds come from the highest down, the first of the least wins. */
static double badness(Rule rule, const RuleSettings *s, const Values *v, size_t alarms, size_t escapes, size_t most) {
    const size_t found = v->defects - escapes;
    switch (rule) {
    case RULE_F1:
        return -2 * (double)found / (double)(found + alarms + v->defects);
    case RULE_ZERO_ESCAPES:
        return (double)escapes;
    case RULE_COSTS:
        return cost_of(s, v, alarms, escapes);
    default:
        return alarms <= most ? -(double)(found + alarms) : (double)alarms; /* budget: the lowest of those */
    }
}

static BlemishStatus too_few(const char *what, const char *rule, size_t found, const char *option, double value,
                             double needed, Error *e) {
    return error_set(e, BLEMISH_ERROR_ARGUMENT,
                     "%s: found %zu good images to choose the threshold on, expected %.0f or more for %s %s %g", what,
                     found, needed, rule, option, value);
}

/* The most false alarms that the bound allows. */
static BlemishStatus allowed_alarms(const RuleSettings *s, const char *what, size_t good, size_t *most, Error *e) {
    size_t low = 0, high = good; /* allowed, not allowed */
    const double level = 1 - s->confidence;
    if (good == 0 || binomial_upper(0, good, level) > s->budget)
        return too_few(what, "a", good, "budget of", s->budget, (double)binomial_needed(s->budget, s->confidence), e);
    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        *(binomial_upper(middle, good, level) <= s->budget ? &low : &high) = middle;
    }
    *most = low;
    return BLEMISH_OK;
}

static BlemishStatus choose_conformal(double alpha, const char *what, const Values *v, float *threshold, Error *e) {
    /* ceil((n + 1)(1 - alpha)) from below is floor((n + 1) alpha) from above; the product may be a rounding short. */
    const size_t rank = (size_t)floor((double)(v->good + 1) * alpha * (1 + 1e-12));
    if (rank == 0)
        return too_few(what, "a", v->good, "false-alarm rate alpha of", alpha, ceil(1 / alpha * (1 - 1e-12)) - 1, e);
    size_t i = 0;
    for (size_t seen = 0;; i++)
        if (!defective(v, i) && ++seen == rank) break;
    *threshold = nextafterf(value_at(v, i), 2);
    if (*threshold > 1)
        return error_set(e, BLEMISH_ERROR_ARGUMENT,
                         "%s: found good images at 1, the largest value there is: no threshold passes them", what);
    return BLEMISH_OK;
}

static BlemishStatus choose(Rule rule, const RuleSettings *s, const char *what, const Values *v, float *threshold,
                            Error *e) {
    size_t most = 0, alarms = 0;
    if (rule == RULE_CONFORMAL) return choose_conformal(s->alpha, what, v, threshold, e);
    if (rule == RULE_BUDGET && allowed_alarms(s, what, v->good, &most, e)) return e->status;
    if (rule != RULE_BUDGET && (v->defects == 0 || (v->good == 0 && rule != RULE_ZERO_ESCAPES)))
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "%s: found %zu good and %zu defective images, expected %s by %s",
                         what, v->good, v->defects, rule == RULE_ZERO_ESCAPES ? "defective ones" : "both",
                         rule_name(rule));
    double least = INFINITY;
    for (size_t count = 0, found = 0; count <= v->n; count++) {
        float here;
        if (count) *(defective(v, count - 1) ? &found : &alarms) += 1;
        if (!threshold_after(v, count, &here)) continue;
        const double bad = badness(rule, s, v, alarms, v->defects - found, most);
        if (bad >= least) continue;
        least = bad;
        *threshold = here;
    }
    if (rule == RULE_BUDGET && least > 0)
        return error_set(e, BLEMISH_ERROR_ARGUMENT,
                         "%s: found %.0f good images at 1, the largest value there is; a "
                         "budget of %g allows %zu false alarms",
                         what, least, s->budget, most);
    return BLEMISH_OK;
}

BlemishStatus threshold_choose(Rule rule, const RuleSettings *settings, const char *what, const float *values,
                               const uint8_t *labels, size_t n, float *threshold, Error *e) {
    Values v = {.items = array_new(n, sizeof *v.items, e), .n = n};
    if (n && v.items == NULL) return e->status;
    for (size_t i = 0; i < n; i++) {
        if (!(values[i] >= 0 && values[i] <= 1)) {
            array_free(v.items);
            return error_set(e, BLEMISH_ERROR_ARGUMENT, "%s: found %g, expected numbers from 0 to 1", what,
                             (double)values[i]);
        }
        v.items[i] = item_make(key_make(values[i]), labels[i] ? 2 : 1);
        *(labels[i] ? &v.defects : &v.good) += 1;
    }
    items_sort(v.items, n);
    BlemishStatus status = choose(rule, settings, what, &v, threshold, e);
    array_free(v.items);
    return status;
}
