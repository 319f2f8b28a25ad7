/* Weights that are compiled into the library: the bytes of a .safetensors file, in a section that is only read. They
 * cost no memory until something reads them: a page comes in when it is touched. */
#include "store/store.h"

/* .incbin and not an array: a compiler takes a minute and a gigabyte over megabytes of initialisers. A section of their
 * own, aligned to what Linux brings in around a page that is touched, keeps them away from what is. */
#define EMBED(symbol, file)                                                                                            \
    __asm__(".pushsection .weights." #symbol ",\"a\",%progbits\n"                                                      \
            ".balign 65536\n"                                                                                          \
            ".hidden " #symbol "\n"                                                                                    \
            ".global " #symbol "\n" #symbol ":\n"                                                                      \
            ".incbin \"" file "\"\n"                                                                                   \
            ".hidden " #symbol "_end\n"                                                                                \
            ".global " #symbol "_end\n" #symbol "_end:\n"                                                              \
            ".popsection\n");                                                                                          \
    extern const uint8_t symbol[], symbol##_end[]

EMBED(builtin_weights, BUILTIN_FILE);

static const EmbeddedWeights embedded[] = {
    {{"builtin.safetensors", "builtin", BUILTIN_SHA256, ""}, builtin_weights, builtin_weights_end}};

const EmbeddedWeights *embedded_weights(size_t index) {
    return index < sizeof embedded / sizeof *embedded ? &embedded[index] : NULL;
}
