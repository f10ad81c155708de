#include "engine/chat.h"

#include "base/check.h"
#include "base/text.h"

namespace lowbit {
namespace {

void append(std::vector<int32_t>* ids, const std::vector<int32_t>& more) {
  ids->insert(ids->end(), more.begin(), more.end());
}

int32_t special(const Tokenizer& tokenizer, std::string_view text) {
  const auto id = tokenizer.special_id(text);
  if (!id) throw_error("the tokenizer has no {}, which the chat template needs", text);
  return *id;
}

// <|start_header_id|>ROLE<|end_header_id|>\n\nTEXT<|eot_id|>
void append_llama3(const Tokenizer& tokenizer, std::string_view role, std::string_view text,
                   bool open, std::vector<int32_t>* ids) {
  const EncodeOptions plain{.add_bos = false};
  ids->push_back(special(tokenizer, "<|start_header_id|>"));
  append(ids, tokenizer.encode(role, plain));
  ids->push_back(special(tokenizer, "<|end_header_id|>"));
  append(ids, tokenizer.encode("\n\n" + std::string(trim(text)), plain));
  if (!open) ids->push_back(special(tokenizer, "<|eot_id|>"));
}

}  // namespace

ChatStyle chat_style(const Tokenizer& tokenizer) {
  if (tokenizer.special_id("<|start_header_id|>")) return ChatStyle::kLlama3;
  if (tokenizer.special_id("<s>")) return ChatStyle::kLlama2;
  throw_error("no chat template is known for this tokenizer ({}); leave out --chat",
              tokenizer.describe());
}

std::vector<int32_t> chat_prompt(const Tokenizer& tokenizer, std::string_view system,
                                 std::string_view user) {
  if (chat_style(tokenizer) == ChatStyle::kLlama3) {
    std::vector<int32_t> ids{special(tokenizer, "<|begin_of_text|>")};
    if (!system.empty()) append_llama3(tokenizer, "system", system, false, &ids);
    append_llama3(tokenizer, "user", user, false, &ids);
    append_llama3(tokenizer, "assistant", "", true, &ids);
    return ids;
  }
  std::string text = "[INST] ";
  if (!system.empty()) text += "<<SYS>>\n" + std::string(system) + "\n<</SYS>>\n\n";
  text += std::string(trim(user)) + " [/INST]";
  std::vector<int32_t> ids{special(tokenizer, "<s>")};
  append(&ids, tokenizer.encode(text, {.add_bos = false}));
  return ids;
}

std::vector<int32_t> chat_stop_ids(const Tokenizer& tokenizer) {
  std::vector<int32_t> ids = tokenizer.eos();
  for (const char* text : {"<|eot_id|>", "<|eom_id|>", "</s>"}) {
    if (const auto id = tokenizer.special_id(text)) ids.push_back(*id);
  }
  return ids;
}

}  // namespace lowbit
