#include "api/api.h"

#include <stdio.h>

BLEMISH_API const char *blemish_version(void) {
    return BLEMISH_VERSION;
}

void *handle_new(size_t size) {
    Error e;
    return array_new(1, size, &e);
}

Error *error_begin(Error *error) {
    error->status = BLEMISH_OK;
    return error;
}

BlemishStatus error_report(const Error *e, char *error) {
    if (error && e->status != BLEMISH_OK) snprintf(error, BLEMISH_ERROR_SIZE, "%s", e->text);
    return e->status;
}

BlemishStatus error_null(Error *e, const char *name) {
    return error_set(e, BLEMISH_ERROR_ARGUMENT, "%s: found a null pointer", name);
}
