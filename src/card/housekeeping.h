// What transformers notes of itself in every config.json: classes, versions, generation, what a call returns.
#pragma once

#include "card/config_reader.h"

namespace nightreel::card {

inline void ignore_housekeeping(ConfigReader& read) {
  read.ignore({"architectures",
               "bos_token_id",
               "chunk_size_feed_forward",
               "decoder_start_token_id",
               "dtype",
               "eos_token_id",
               "id2label",
               "is_encoder_decoder",
               "label2id",
               "output_attentions",
               "output_hidden_states",
               "pad_token_id",
               "problem_type",
               "return_dict",
               "task_specific_params",
               "tie_word_embeddings",
               "tokenizer_class",
               "torch_dtype",
               "torchscript",
               "transformers_version",
               "use_bfloat16",
               "use_cache"});
}

}  // namespace nightreel::card
