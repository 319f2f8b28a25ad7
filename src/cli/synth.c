#include "cli.h"

#include <string.h>

typedef struct Values {
    ImageSize size;
    const char *surface, *contact_sheet;
    uint64_t train_good, train_defect, test_good, test_defect, programs, seed, defect_size;
    bool quiet;
} Values;

#define COUNT_OPTION(word, field, value, text)                                                                         \
    {                                                                                                                  \
        .name = word, .argument = "N", .initial = value, .help = text, .kind = OPTION_WHOLE,                           \
        .offset = offsetof(Values, field), .most = 1000000                                                             \
    }

static const Option options[] = {
    {.name = "size",
     .argument = "HxW",
     .initial = "256",
     .help = "image size in pixels, one number for a square",
     .kind = OPTION_SIZE,
     .offset = offsetof(Values, size)},
    COUNT_OPTION("train-good", train_good, "60", "good images for training"),
    COUNT_OPTION("train-defect", train_defect, "20", "defective images for training"),
    COUNT_OPTION("test-good", test_good, "30", "good images for testing"),
    COUNT_OPTION("test-defect", test_defect, "30", "defective images for testing"),
    TEXT_OPTION("surface", surface, "FAMILY,...|all",
                "families of surfaces, listed below; otherwise the seed chooses one of four plain ones"),
    {.name = "programs",
     .argument = "N",
     .initial = "1",
     .help = "materials drawn from the families; several have a folder each",
     .kind = OPTION_WHOLE,
     .offset = offsetof(Values, programs),
     .least = 1,
     .most = 1000000},
    TEXT_OPTION("contact-sheet", contact_sheet, "FILE",
                "write a picture of the families (PNG, or JPEG by .jpg) in tiles of --size and no data set"),
    COUNT_OPTION("defect-size", defect_size, "0",
                 "about how long defects are, in pixels; 0: in proportion to the image"),
    {.name = "seed",
     .argument = "N",
     .initial = "1",
     .help = "chooses the surface and everything on it",
     .kind = OPTION_WHOLE,
     .offset = offsetof(Values, seed),
     .most = UINT64_MAX},
    QUIET_OPTION(Values),
};

/* The bit set of a list "wood,screw"; "all" is every family. False, and a line, for an unknown one. */
static bool families_of(const char *list, uint64_t *families) {
    *families = 0;
    if (list == NULL) return true;
    for (const char *word = list; word; word = strchr(word, ',') ? strchr(word, ',') + 1 : NULL) {
        const size_t length = strcspn(word, ",");
        const char *name;
        bool known = false;
        for (size_t i = 0; (name = blemish_surface_family(i)); i++)
            if ((strlen(name) == length && strncmp(name, word, length) == 0) || strcmp(list, "all") == 0) {
                *families |= (uint64_t)1 << i;
                known = true;
            }
        if (!known) {
            wrong_usage(&command_synth, "--surface: found '%.*s', expected all or families listed in --help",
                        (int)length, word);
            return false;
        }
    }
    return true;
}

static void list_families(void (*item)(FILE *out, const char *term, const char *help), FILE *out) {
    char names[1024] = "";
    const char *name;
    for (size_t i = 0, n = 0; (name = blemish_surface_family(i)) && n < sizeof names; i++)
        n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", i ? ", " : "", name);
    item(out, "FAMILY", names);
}

static int write_sheet(const Values *values, uint64_t families) {
    BlemishSurfaceSettings settings;
    blemish_surface_defaults(&settings);
    settings.height = values->size.height;
    settings.width = values->size.width;
    settings.seed = values->seed;
    settings.families = families;
    char error[BLEMISH_ERROR_SIZE] = "";
    return blemish_surface_sheet(&settings, values->contact_sheet, error) ? fail("%s", error) : EXIT_OK;
}

static int run(int argc, char **argv) {
    Values values = {0};
    size_t count;
    int code = options_parse(&command_synth, argc, argv, &values, &count);
    if (code >= 0) return code;
    uint64_t families;
    if (!families_of(values.surface, &families)) return EXIT_USAGE;
    if (values.contact_sheet && count > 0)
        return wrong_usage(&command_synth, "%s: not made with --contact-sheet", argv[0]);
    if (values.contact_sheet) return write_sheet(&values, families);
    if (count == 0) return wrong_usage(&command_synth, "DIR: found nothing, expected a folder to make");
    ProgressBar bar;
    progress_start(&bar, values.quiet);
    stop_on_signals();
    BlemishSynthSettings settings;
    blemish_synth_defaults(&settings);
    settings.height = values.size.height;
    settings.width = values.size.width;
    settings.train_good = values.train_good;
    settings.train_defect = values.train_defect;
    settings.test_good = values.test_good;
    settings.test_defect = values.test_defect;
    settings.seed = values.seed;
    settings.families = families;
    settings.programs = values.programs;
    settings.defect_size = values.defect_size;
    settings.progress = progress_show;
    settings.progress_user = &bar;
    char error[BLEMISH_ERROR_SIZE] = "";
    BlemishStatus status = blemish_synth(argv[0], &settings, error);
    progress_end(&bar);
    return status ? fail("%s", error) : EXIT_OK;
}

const Command command_synth = {
    .name = "synth",
    .summary = "make images of a surface with and without defects",
    .operands = "DIR",
    .operands_least = 0,
    .operands_most = 1,
    .description = "Writes a data set of procedural images with defects and their masks (PNG, arranged like MVTec AD) "
                   "under DIR, which is created and must be empty: something to try the program on when no photographs "
                   "are at hand. The same settings give the same images.\n\n"
                   "With --surface, a data set shows one material drawn from a family and ten kinds of defects on it.",
    .example = "blemish synth parts --size 256 --seed 7\n"
               "blemish synth materials --surface wood,leather,screw --programs 12\n"
               "blemish synth --contact-sheet families.jpg --size 72",
    OPTIONS(options),
    .list_title = "Families",
    .list = list_families,
    .run = run,
};
