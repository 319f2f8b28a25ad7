#include "base/base.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

bool number_parse(const char *text, double *out) {
    /* Only what a decimal number is made of: strtod also takes white space, hexadecimal, "nan" and "infinity". */
    if (*text == '\0' || text[strspn(text, "0123456789+-.eE")] != '\0') return false;
    locale_t c = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0); /* the program's own may use a decimal comma */
    if (c == (locale_t)0) return false;
    char *end;
    double value = strtod_l(text, &end, c);
    freelocale(c);
    if (end == text || *end != '\0' || !isfinite(value)) return false;
    *out = value;
    return true;
}

bool count_parse(const char *text, uint64_t *out) {
    if (*text == '\0' || text[strspn(text, "0123456789")] != '\0') return false;
    errno = 0;
    unsigned long long value = strtoull(text, NULL, 10);
    if (errno) return false;
    *out = value;
    return true;
}
