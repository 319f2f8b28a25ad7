#include "api/api.h"

#include <stdlib.h>

BLEMISH_API BlemishStatus blemish_picture(const BlemishEvaluated *evaluated, BlemishPictureKind kind, size_t side,
                                          uint8_t **bytes, size_t *size, char *error) {
    Error e = {0};
    if (evaluated == NULL || bytes == NULL || size == NULL) {
        error_null(&e, evaluated == NULL ? "evaluated" : bytes == NULL ? "bytes" : "size");
        return error_report(&e, error);
    }
    e.status = picture_encode(evaluated, kind, side, bytes, size, &e);
    return error_report(&e, error);
}

BLEMISH_API void blemish_bytes_free(uint8_t *bytes) {
    free(bytes);
}
