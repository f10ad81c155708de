#include "models/llama_config.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/check.h"

namespace lowbit {
namespace {

// A small valid config with `extra` in it.
Hyperparams config(const std::string& extra) {
  return Hyperparams::from_json("config.json", R"({"hidden_size": 64, "intermediate_size": 96,
      "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 100)" +
                                                   extra + "}");
}

std::string error_of(const std::string& extra) {
  try {
    read_llama_config(config(extra));
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(LlamaConfig, DefaultsAreTransformers) {
  const LlamaConfig c = read_llama_config(config(""));
  EXPECT_EQ(c.kv_heads, 4);
  EXPECT_EQ(c.head_dim, 16);
  EXPECT_EQ(c.max_context, 2048);
  EXPECT_FALSE(c.tied_embeddings);
  EXPECT_FLOAT_EQ(c.norm_eps, 1e-6f);
  ASSERT_EQ(c.inv_freq.size(), 8u);
  EXPECT_FLOAT_EQ(c.inv_freq[1], static_cast<float>(std::pow(10000.0, -2.0 / 16)));
}

TEST(LlamaConfig, BothSpellingsOfRopeAgree) {
  const LlamaConfig old_style = read_llama_config(config(
      R"(, "rope_theta": 500000, "rope_scaling": {"rope_type": "llama3", "factor": 8,
         "low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": 64})"));
  const LlamaConfig new_style = read_llama_config(config(
      R"(, "rope_parameters": {"rope_theta": 500000, "rope_type": "llama3", "factor": 8,
         "low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": 64})"));
  EXPECT_EQ(old_style.inv_freq, new_style.inv_freq);
  const LlamaConfig plain = read_llama_config(config(R"(, "rope_theta": 500000)"));
  EXPECT_EQ(old_style.inv_freq[0], plain.inv_freq[0]);            // short waves stay
  EXPECT_FLOAT_EQ(old_style.inv_freq[7], plain.inv_freq[7] / 8);  // long ones are divided
}

TEST(LlamaConfig, FieldsThatWouldChangeTheNumbersAreRefused) {
  for (const char* field :
       {R"("sliding_window": 16)", R"("partial_rotary_factor": 0.5)", R"("hidden_act": "gelu")",
        R"("rope_scaling": {"rope_type": "yarn", "factor": 2})"}) {
    const std::string message = error_of(std::string(", ") + field);
    EXPECT_NE(message.find("config.json"), std::string::npos) << field;
    EXPECT_NE(message.find("support"), std::string::npos) << field << ": " << message;
  }
  EXPECT_EQ(error_of(R"(, "sliding_window": null, "partial_rotary_factor": 1.0)"), "");
}

TEST(LlamaConfig, ContradictionsNameTheField) {
  EXPECT_NE(error_of(R"(, "num_key_value_heads": 3)").find("num_key_value_heads"),
            std::string::npos);
  EXPECT_NE(error_of(R"(, "head_dim": 15)").find("head_dim"), std::string::npos);
  EXPECT_NE(error_of(R"(, "rms_norm_eps": -1)").find("rms_norm_eps"), std::string::npos);
  EXPECT_NE(error_of(R"(, "tie_word_embeddings": "yes")").find("tie_word_embeddings"),
            std::string::npos);
}

}  // namespace
}  // namespace lowbit
