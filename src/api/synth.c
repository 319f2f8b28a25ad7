#include "api/api.h"

BLEMISH_API void blemish_synth_defaults(BlemishSynthSettings *settings) {
    if (settings)
        *settings = (BlemishSynthSettings){.width = 256,
                                           .height = 256,
                                           .train_good = 60,
                                           .train_defect = 20,
                                           .test_good = 30,
                                           .test_defect = 30,
                                           .seed = 1,
                                           .programs = 1};
}

BLEMISH_API BlemishStatus blemish_synth(const char *dir, const BlemishSynthSettings *settings, char *error) {
    Error e = {0};
    BlemishSynthSettings defaults;
    blemish_synth_defaults(&defaults);
    if (dir == NULL)
        error_null(&e, "dir");
    else
        e.status = synth_write(dir, settings ? settings : &defaults, &e);
    return error_report(&e, error);
}
