#include "load/hyperparams.h"

#include <gtest/gtest.h>

#include "base/check.h"

namespace lowbit {
namespace {

std::string message_of(const auto& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Hyperparams, JsonAndYamlReadAlike) {
  const auto json = Hyperparams::from_json("c.json", R"({"i": 32, "f": 1e-5, "b": true, "t": "x",
      "whole": 32.0, "none": null, "list": [1, 2], "words": ["a", "b"], "child": {"j": -7}})");
  const auto yaml = Hyperparams::from_yaml("c.yaml",
                                           "# comment\ni: 32\nf: 1.0e-5\nb: true\nt: x\n"
                                           "whole: 32.0\nnone: null\nlist: [1, 2]\n"
                                           "words: [a, b]\nchild:\n  j: -7\n");
  for (const Hyperparams& h : {json, yaml}) {
    EXPECT_EQ(h.integer("i", 1, 100), 32);
    EXPECT_EQ(h.integer("whole", 1, 100), 32);
    EXPECT_EQ(h.integer_or("absent", 5, 1, 100), 5);
    EXPECT_EQ(h.integer_or("none", 5, 1, 100), 5);
    EXPECT_EQ(h.number("f", 0, 1), 1e-5);
    EXPECT_EQ(h.number("i", 0, 100), 32.0);
    EXPECT_EQ(h.number_or("absent", 2.5, 0, 1), 2.5);
    EXPECT_TRUE(h.boolean_or("b", false));
    EXPECT_TRUE(h.boolean_or("absent", true));
    EXPECT_EQ(h.text("t"), "x");
    EXPECT_EQ(h.text_or("absent", "y"), "y");
    EXPECT_EQ(h.integers_or("list", 0, 9), (std::vector<int64_t>{1, 2}));
    EXPECT_EQ(h.integers_or("i", 0, 99), (std::vector<int64_t>{32}));
    EXPECT_TRUE(h.integers_or("absent", 0, 9).empty());
    EXPECT_EQ(h.texts_or("words"), (std::vector<std::string>{"a", "b"}));
    EXPECT_EQ(h.child("child")->integer("j", -10, 0), -7);
    EXPECT_FALSE(h.child("absent"));
    EXPECT_TRUE(h.has("i"));
    EXPECT_FALSE(h.has("none"));
    EXPECT_EQ(h.keys().size(), 9u);
  }
}

TEST(Hyperparams, ErrorsNameFileFieldAndValue) {
  const auto h = Hyperparams::from_json(
      "c.json", R"({"i": 32, "t": "x", "child": {"j": "y", "l": [1, "z"]}})");
  const auto child = *h.child("child");
  EXPECT_EQ(message_of([&] { h.integer("i", 1, 10); }), "c.json: i: is 32, must be from 1 to 10");
  EXPECT_EQ(message_of([&] { h.number("i", 0, 1); }), "c.json: i: is 32, must be from 0 to 1");
  EXPECT_EQ(message_of([&] { h.number("t", 0, 1); }), "c.json: t: is \"x\", expected a number");
  EXPECT_EQ(message_of([&] { h.text("i"); }), "c.json: i: is 32, expected a string");
  EXPECT_EQ(message_of([&] { h.child("i"); }), "c.json: i: is 32, expected an object");
  EXPECT_EQ(message_of([&] { h.texts_or("i"); }), "c.json: i: is 32, expected a list of strings");
  EXPECT_EQ(message_of([&] { child.integer("j", 0, 1); }),
            "c.json: child.j: is \"y\", expected an integer");
  EXPECT_EQ(message_of([&] { child.integers_or("l", 0, 1); }),
            "c.json: child.l: is \"z\", expected an integer");
  EXPECT_EQ(message_of([&] { h.text("absent"); }),
            "c.json: absent: is missing, and the model cannot be built without it");
  EXPECT_EQ(message_of([&] { h.fail("i", "is odd"); }), "c.json: i: is odd");
}

TEST(Hyperparams, BrokenYamlIsOneLine) {
  const auto message = [](const std::string& text) {
    return message_of([&] { Hyperparams::from_yaml("c.yaml", text); });
  };
  EXPECT_EQ(message(""), "c.yaml: is empty, expected YAML");
  EXPECT_EQ(message("a: 1\na: 2\n"), "c.yaml: a: the key appears twice");
  EXPECT_EQ(message("- 1\n- 2\n"), "c.yaml: is a list of 2, expected an object of hyperparameters");
  EXPECT_EQ(message("a: &x 1\nb: *x\n"),
            "c.yaml: b: YAML aliases are not supported; write the value out");
  EXPECT_EQ(message("? [1, 2]\n: 3\n"), "c.yaml: a key must be a plain word");
  EXPECT_EQ(message("a: 1\n---\nb: 2\n"), "c.yaml: holds several YAML documents, expected one");
  EXPECT_NE(message("a: [1, 2\n").find("c.yaml: is not valid YAML: "), std::string::npos);
  EXPECT_EQ(message("a: " + std::string(100, '[') + std::string(100, ']')),
            "c.yaml: a: nested deeper than 32 levels");
  EXPECT_NE(message(std::string(2 << 20, 'a')).find("2097152 bytes of YAML"), std::string::npos);
}

TEST(Hyperparams, YamlNumbersThatFitNoDoubleStayText) {
  const auto h = Hyperparams::from_yaml("c.yaml", "a: 1e999\nb: .nan\nc: \"5\"\n");
  for (const char* key : {"a", "b", "c"}) {
    EXPECT_NE(message_of([&] { h.number(key, 0, 9); }).find("expected a number"),
              std::string::npos);
  }
}

}  // namespace
}  // namespace lowbit
