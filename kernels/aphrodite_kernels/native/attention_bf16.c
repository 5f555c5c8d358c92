/* Attention over a bf16 cache; see attention.h for the layout and the order of accumulation. */
#include "common.h"
#define ELEMENT uint16_t
#define VLOAD vload_bf16
#define TO_F32(x) bf16_to_f32(x)
#define NAME attention_bf16
#include "attention_body.h"
