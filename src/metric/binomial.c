#include "metric/interval.h"

#include <math.h>

/* The regularised incomplete beta function I_x(a, b) by its continued fraction (Abramowitz and Stegun 26.5.8, evaluated
 * by Lentz' method), which converges fast for x < (a + 1) / (a + b + 2). */
static double beta_fraction(double x, double a, double b) {
    const double tiny = 1e-300;
    double c = 1, d = 1 - (a + b) * x / (a + 1);
    d = 1 / (fabs(d) < tiny ? tiny : d);
    double result = d;
    for (int m = 1; m < 100000; m++) {
        for (int odd = 0; odd < 2; odd++) {
            const double k = m, step = odd ? -(a + k) * (a + b + k) * x / ((a + 2 * k) * (a + 2 * k + 1))
                                           : k * (b - k) * x / ((a + 2 * k - 1) * (a + 2 * k));
            d = 1 + step * d;
            c = 1 + step / c;
            d = 1 / (fabs(d) < tiny ? tiny : d);
            c = fabs(c) < tiny ? tiny : c;
            result *= d * c;
        }
        if (fabs(d * c - 1) < 1e-16) break;
    }
    return result;
}

static double beta_distribution(double x, double a, double b) {
    int sign;
    if (x <= 0 || x >= 1) return x >= 1;
    const double scale = exp(lgamma_r(a + b, &sign) - lgamma_r(a, &sign) - lgamma_r(b, &sign) + a * log(x) + //
                             b * log1p(-x));
    return x < (a + 1) / (a + b + 2) ? scale * beta_fraction(x, a, b) / a : 1 - scale * beta_fraction(1 - x, b, a) / b;
}

double binomial_at_most(size_t k, size_t n, double p) {
    return k >= n ? 1 : 1 - beta_distribution(p, (double)k + 1, (double)(n - k));
}

double binomial_upper(size_t k, size_t n, double alpha) {
    double low = 0, high = 1;
    if (k >= n) return 1;
    for (int i = 0; i < 200 && low < high; i++) { /* until low and high are neighbours */
        const double middle = low + (high - low) / 2;
        if (middle <= low || middle >= high) break;
        *(binomial_at_most(k, n, middle) > alpha ? &low : &high) = middle;
    }
    return high;
}

double binomial_lower(size_t k, size_t n, double alpha) {
    return k > n ? 0 : 1 - binomial_upper(n - k, n, alpha);
}

BlemishInterval binomial_interval(size_t k, size_t n, double confidence) {
    const double tail = (1 - confidence) / 2;
    return n ? (BlemishInterval){binomial_lower(k, n, tail), binomial_upper(k, n, tail)} : (BlemishInterval){0, 1};
}

size_t binomial_needed(double rate, double confidence) {
    return (size_t)ceil(log1p(-confidence) / log1p(-rate) * (1 - 1e-12));
}
