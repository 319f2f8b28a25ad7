#include "base/base.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void text_append(Text *t, const char *bytes, size_t length) {
    if (t->failed) return;
    size_t need;
    if (!size_add(t->length, length, &need) || !size_add(need, 1, &need)) {
        t->failed = true;
        return;
    }
    if (need > t->capacity) {
        size_t capacity = t->capacity < 64 ? 64 : t->capacity;
        while (capacity < need)
            if (!size_mul(capacity, 2, &capacity)) capacity = need;
        char *data = realloc(t->data, capacity);
        if (data == NULL) {
            t->failed = true;
            return;
        }
        t->data = data;
        t->capacity = capacity;
    }
    if (length) memcpy(t->data + t->length, bytes, length);
    t->length += length;
    t->data[t->length] = '\0';
}

void text_format(Text *t, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *piece = n < 0 ? NULL : malloc((size_t)n + 1);
    if (piece == NULL) {
        t->failed = true;
    } else {
        vsnprintf(piece, (size_t)n + 1, format, again);
        text_append(t, piece, (size_t)n);
        free(piece);
    }
    va_end(again);
}

/* Length of the well-formed UTF-8 sequence at s (RFC 3629), 0 if there is none. */
static size_t utf8_sequence(const unsigned char *s) {
    if (s[0] < 0x80) return 1;
    size_t n = s[0] >= 0xc2 && s[0] <= 0xdf ? 2 : (s[0] & 0xf0) == 0xe0 ? 3 : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4 : 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
        (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return n;
}

void text_json_string(Text *t, const char *value) {
    text_append(t, "\"", 1);
    for (const unsigned char *s = (const unsigned char *)value; *s;) {
        size_t n = utf8_sequence(s);
        if (n == 0) {
            text_append(t, "\xef\xbf\xbd", 3);
            n = 1;
        } else if (*s == '"' || *s == '\\') {
            text_format(t, "\\%c", *s);
        } else if (*s < 0x20 || *s == 0x7f) {
            text_format(t, "\\u%04x", *s);
        } else {
            text_append(t, (const char *)s, n);
        }
        s += n;
    }
    text_append(t, "\"", 1);
}

void text_json_number(Text *t, double value) {
    if (!isfinite(value)) {
        text_append(t, "null", 4);
        return;
    }
    locale_t c = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0); /* the program's own may use a decimal comma */
    if (c == (locale_t)0) {
        t->failed = true;
        return;
    }
    locale_t before = uselocale(c);
    char digits[40];
    for (int precision = 6; precision <= 17; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, value);
        if (strtod(digits, NULL) == value) break;
    }
    uselocale(before);
    freelocale(c);
    text_append(t, digits, strlen(digits));
}

void text_free(Text *t) {
    free(t->data);
    *t = (Text){0};
}
