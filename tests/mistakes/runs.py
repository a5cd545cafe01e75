# Copyright 2026 The mtf_switch Authors.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""Values that describe training, decoding and data, wrong or misspelt."""

from tests.mistakes.mistake import Mistake
from tests.mistakes.mistake import refused
from tests.mistakes.mistake import unknown
from tests.mistakes.mistake import values_of

_COUNT = "must be a whole number of at least 1"
_COUNT_OR_ZERO = "must be a whole number of at least 0"
_DROPOUT = "must be a number of at least 0 and below 1"
_FLAG = "must be True or False"
_NOT_NEGATIVE = "must be a number of at least 0"
_PATH = "must be a text in quotes"
_STEPS = "must be a step, a list of steps, 'all', or None for the latest"
_STEP = "must be a whole number of at least 0, or None for the latest"
_FILES = ("--input_file=mine.gin", "--output_file=out")
_INFER = ("--mode=infer", *_FILES)

_TRAINING = [
    *values_of(
        "train_steps",
        ["'60'", "10.5", "None", "0", "True", "[60]", str(10**25)],
        _COUNT,
        "train.steps",
    ),
    *values_of("train.metrics_every", ["0"], _COUNT),
    *values_of("train.keep_checkpoint_max", ["-1", "'5'"], _COUNT_OR_ZERO),
    *values_of("train.save_checkpoints_steps", ["0", "1000.0"], _COUNT),
    *values_of("train.steps_per_block", ["0"], _COUNT),
    *values_of("train.eval_every", ["-3", "'x'"], _COUNT_OR_ZERO),
    *values_of("train.eval_split", ["3"], _PATH),
    unknown(
        "train.on_not_finite", "'stpo'", "train.on_not_finite", "stop, skip"
    ),
    refused(
        ["train.eval_every = 1", "train.eval_split = 'x'"],
        "'toy_copy' has no 'x' split; it has train, validation.",
    ),
    refused(
        ["learning_rate_schedule = None"],
        "Experiment.learning_rate_schedule is not set; add for example "
        "--gin_file=schedules/rsqrt_no_ramp_down.gin.",
    ),
    *values_of(
        "learning_rate_schedule",
        ["'x'", "[]", "-0.1", "[1, 'x']", "@Adafactor"],
        "must be a number of at least 0, a function such as @truncated_rsqrt",
        "Experiment.learning_rate_schedule",
    ),
    *values_of(
        "constant_learning_rate.learning_rate", ["-1", "'0.1'"], _NOT_NEGATIVE
    ),
    *values_of("truncated_rsqrt.warmup_steps", ["0"], "must be a number of"),
    *values_of(
        "optimizer",
        ["3", "@truncated_rsqrt"],
        "must be a function of learning_rate",
        "Experiment.optimizer",
    ),
    *values_of("AdafactorOptimizer.beta1", ["1"], _DROPOUT),
    *values_of("adafactor_decay_rate_pow.offset", ["3.5"], _COUNT_OR_ZERO),
]

_BATCHES = [
    *values_of(
        "batch_size",
        ["'4'", "3.5", "0", "True", "['tokens_per_batch', 0]"],
        _COUNT,
        "Experiment.batch_size",
    ),
    *values_of(
        "sequence_length",
        ["'24'", "0", "{'targets': 'x'}", "[24, 16]"],
        _COUNT,
        "Experiment.sequence_length",
    ),
    refused(
        ["sequence_length = {'inputs': 24}"],
        "Experiment.sequence_length = {'inputs': 24} has no length for "
        "'targets'.",
    ),
    *values_of("Experiment.outer_batch_size", ["0"], _COUNT),
    refused(
        ["Experiment.outer_batch_size = 5"],
        "must be between 1 and the 4 sequences of a batch.",
    ),
    *values_of("task", ["3"], _PATH, "Experiment.task"),
    refused(
        ["task = 'toy_copi'"],
        "Task or mixture 'toy_copi' is not registered; did you mean "
        "toy_copy? Tasks of your own come in with --module_import.",
    ),
    *values_of(
        "use_cached", ["'no'"], _FLAG, "mesh_train_dataset_fn.use_cached"
    ),
    refused(
        ["serialize_num_microbatches.tokens_per_microbatch_per_replica = 0"],
        f"tokens_per_microbatch_per_replica = 0 {_COUNT}",
    ),
]

_DECODING = [
    *values_of(
        "Bitransformer.decode.beam_size", ["0", "'4'", "1000000000"], _COUNT
    ),
    *values_of("Bitransformer.decode.max_decode_length", ["0", "2.5"], _COUNT),
    *values_of("Bitransformer.decode.alpha", ["-1", "'x'"], _NOT_NEGATIVE),
    *values_of(
        "Bitransformer.decode.temperature", ["-1", "None"], _NOT_NEGATIVE
    ),
    *values_of("Bitransformer.decode.sampling_keep_top_k", ["0"], _COUNT),
    refused(
        [
            "Bitransformer.decode.beam_size = 2",
            "Bitransformer.decode.temperature = 1.0",
        ],
        "beam_size = 2 and temperature = 1.0 do not go together",
        "use beam_size = 1 or temperature = 0.",
    ),
    *values_of("infer.checkpoint_step", ["'all'", "[2]"], _STEP, flags=_INFER),
    *values_of(
        "score.checkpoint_step",
        ["3.0", "'3'"],
        _STEP,
        flags=("--mode=score", *_FILES),
    ),
    *values_of(
        "evaluate.checkpoint_step",
        ["[]", "'3'", "3.0"],
        _STEPS,
        flags=["--mode=eval"],
    ),
    *values_of("evaluate.split", ["None"], _PATH, flags=["--mode=eval"]),
    *values_of(
        "perplexity_eval.checkpoint_step",
        ["[True]", "3.0"],
        _STEPS,
        flags=["--mode=perplexity_eval"],
    ),
    *values_of(
        "finetune.pretrained_dir", ["3"], _PATH, flags=["--mode=finetune"]
    ),
    Mistake(
        [f"finetune.pretrained_step = 'latest' {_STEP}"],
        [
            "finetune.pretrained_dir = 'a'",
            "finetune.pretrained_step = 'latest'",
        ],
        ["--mode=finetune"],
    ),
    Mistake(
        ["there is no checkpoint in 'a'", "or correct finetune.pretrained_dir"],
        ["finetune.pretrained_dir = 'a'"],
        ["--mode=finetune"],
    ),
]

_DATA = [
    *values_of("vocabulary.size", ["'8000'", "None", "2000000000"], _COUNT),
    *values_of("vocabulary.path", ["3"], _PATH),
    *values_of("text_files.path", ["['a', 'b']", "3"], _PATH),
    *values_of("broken_records.limit", ["-1", "0.5"], _COUNT_OR_ZERO),
    *values_of("docstrings.max_bytes", ["'1'"], _COUNT),
    *values_of("mc4.alpha", ["'0.3'"], _NOT_NEGATIVE),
    *values_of("c4.remove_repeated_lines", ["'no'"], _FLAG),
    *values_of("super_glue.directory", ["[]"], _PATH),
    *values_of("squad.train_file", ["None"], _PATH),
    *values_of(
        "random_spans_helper.noise_density", ["0", "1.5"], "must be a number"
    ),
    Mistake(
        ["There is no text in empty.txt."],
        [
            "task = 'text_files_span_corruption'",
            "text_files.path = 'empty.txt'",
        ],
        files={"empty.txt": "\n"},
    ),
    *values_of(
        "sequence_length",
        ["'x'", "0"],
        _COUNT,
        flags=["--mode=inspect", "--task=toy_copy"],
    ),
    *values_of("task", ["3"], _PATH, flags=["--mode=cache", "--output_dir=c"]),
]

_NAMES = [
    Mistake(
        [
            "--gin_param='SwitchFeedForward.num_expert = 4': Configurable "
            "'SwitchFeedForward' doesn't have a parameter named 'num_expert'. "
            "Did you mean num_experts or num_removed_experts?"
        ],
        ["SwitchFeedForward.num_expert = 4"],
    ),
    Mistake(
        [
            "misspelt.gin:2: No configurable matching 'Experimnt'. Did you "
            "mean Experiment?"
        ],
        flags=["--gin_file=misspelt.gin"],
        files={"misspelt.gin": "\nExperimnt.task = 'toy_copy'\n"},
    ),
    Mistake(
        [
            "deccoder/SwitchFeedForward.num_cores is in a scope that nothing "
            "enters, 'deccoder'; did you mean decoder or encoder?"
        ],
        ["deccoder/SwitchFeedForward.num_cores = 2"],
    ),
    Mistake(["must be set", "train_steps"], ["train_steps = %gin.REQUIRED"]),
    Mistake(["this is not gin"], ["train_steps = = 3"]),
]

MISTAKES = [
    *_TRAINING,
    *_BATCHES,
    *_DECODING,
    *_DATA,
    *_NAMES,
]
