#include "base/base.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void print_clean(Error *e, const char *format, va_list args) {
    vsnprintf(e->text, sizeof e->text, format, args);
    for (char *c = e->text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f) *c = '?';
}

BlemishStatus error_set(Error *e, BlemishStatus status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    print_clean(e, format, args);
    va_end(args);
    e->status = status;
    return status;
}

BlemishStatus error_errno(Error *e, const char *format, ...) {
    int number = errno;
    va_list args;
    va_start(args, format);
    print_clean(e, format, args);
    va_end(args);
    size_t used = strlen(e->text);
    snprintf(e->text + used, sizeof e->text - used, ": %s", strerror(number));
    e->status = BLEMISH_ERROR_IO;
    return e->status;
}
