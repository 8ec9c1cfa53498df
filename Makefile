# `make` alone lists what there is. Everything runs in .venv, which is made from requirements.lock on first use.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help quantize track timm openvino zoo tune best predict report package dump env test test-unit test-slow fuzz check schema lint format
.PHONY: example runner devices device device-clean runtimes accuracy-baselines sweep-calibrators sweep-recovery bench-pipeline bench-loop bench-data bench-cifar bench-int8 bench-best bench-instructions bench-peers bench-large bench-mmpretrain chart screenshots zoo-table zoo-engines library-table clean distclean git-or-not

# The interpreter that .venv is made from; empty: the first of python3.11, 3.12, 3.10, 3.13, python3 and python that is a
# Python 3.10 to 3.13. PPQ cannot be had on 3.13, so that one comes last.
PYTHON ?=
# One model of params.yaml; empty: all of them.
MODEL ?=
# Of a model that `make quantize` is to add to params.yaml: a name in mmcls's zoo, or config and checkpoint, or a network of timm's
# or torchvision's and its checkpoint, or an ONNX model and its pre-processing (a preset or a YAML file; empty: the YAML file beside
# it, or what timm and torchvision say); its data's folder.
ZOO ?=
CONFIG ?=
CHECKPOINT ?=
ONNX ?=
TIMM ?=
TORCHVISION ?=
PREPROCESS ?=
DATA ?=
# Of `make zoo`: part of a name or family.
FIND ?=
# Of `make tune`: the profile's name, for `target` in params.yaml; empty: the model's, with the device or the release behind it.
NAME ?=
# Of `make tune`: a release of ncnn to measure with; of `make runtimes`: several with a space between them; empty: the last one of
# each year.
RUNTIME ?=
RUNTIMES ?=
# Of `make predict`: an image, a folder with images, a pattern as a*.png, or several with a space or a line break between
# them; empty: a few of the test split.
IMAGE ?=
# Of `make fuzz` and `make best`: how long, in all; empty: 5 and 10.
MINUTES ?=
# Of `make best`: what int8 may lose, in points of top-1 or in nats; both empty: max_drop_pt of the model's entry.
DROP ?=
KL ?=
# Of `make package`: 1 puts the runner into the zip; empty: no.
RUNNER ?=
# Of `make device`, `make tune` and `make best`: a name in configs/devices; of `make device` and `make runtimes`: on how many test
# images; empty: 200; of `make best`: on how many hold-out images; empty: 1000 with KL, else 5000.
DEVICE ?=
IMAGES ?=
# Of `make bench-loop`: commits; NEW is empty: the newest.
OLD ?=
NEW ?=
# More options for pytest, such as -k table or -x; -n 0 runs all tests in one process.
PYTEST ?=

# All of these but PYTEST are names and nothing else, whatever is in them: make does not expand them, and recipes get them
# through the environment, so no shell does.
GIVEN := PYTHON MODEL ZOO CONFIG CHECKPOINT ONNX TIMM TORCHVISION PREPROCESS DATA FIND NAME IMAGE MINUTES DROP KL RUNNER DEVICE IMAGES ENGINE RUNTIME RUNTIMES OLD NEW
$(foreach given,$(GIVEN),$(eval override $(given) := $$(value $(given))))
$(foreach given,$(GIVEN),$(if $(value $(given)),$(eval export $(given)),$(eval unexport $(given))))
FOR_MODEL := $${MODEL:+--model="$$MODEL"}
FOR_BEST := $${DROP:+--drop="$$DROP"} $${KL:+--kl="$$KL"} $${MINUTES:+--minutes="$$MINUTES"} $${IMAGES:+--holdout="$$IMAGES"} $${DEVICE:+--device="$$DEVICE"}
FOR_FIND := $${FIND:+--find="$$FIND"}

# The stages find .venv by themselves (stages/python); on the PATH it is for copies of the project, which tests and sweeps make.
PY := PATH="$$PWD/.venv/bin:$$PATH" .venv/bin/python
# What a user runs: Ctrl-C at its start gives no traceback (stages/start.py).
RUN := $(PY) -S stages/start.py
# dvc, with less work for many images.
DVC := $(RUN) -m octet.project.quick_dvc
PIP := .venv/bin/python -m pip --disable-pip-version-check --no-input -qq

help:  ## List the targets
	@bold=; off=; if [ -t 1 ] && [ -z "$${NO_COLOR-}$${CI-}" ]; then bold=$$(printf '\033[36m'); off=$$(printf '\033[0m'); fi; \
	awk -v bold="$$bold" -v off="$$off" 'BEGIN { FS = ":.*## " } \
		/^[a-z0-9-]+:.*## / { printf "%s%-18s%s %s\n", bold, $$1, off, $$2 }' $(firstword $(MAKEFILE_LIST))

quantize: .venv/.ready git-or-not $(if $(value TIMM)$(value TORCHVISION),.venv/timm/.locked)  ## Export, quantize, evaluate and time all models of params.yaml, or MODEL=name; ZOO=name, CONFIG=, ONNX=, TIMM= or TORCHVISION= add one
	@set -e; name=$$MODEL; if [ -n "$$ZOO$$CONFIG$$CHECKPOINT$$ONNX$$TIMM$$TORCHVISION$$PREPROCESS$$DATA" ]; then name=$$($(RUN) -m octet add --model="$$MODEL" \
		--zoo="$$ZOO" --config="$$CONFIG" --checkpoint="$$CHECKPOINT" --onnx="$$ONNX" \
		--timm="$$TIMM" --torchvision="$$TORCHVISION" --preprocess="$$PREPROCESS" --data="$$DATA"); fi; \
	$(RUN) -m octet validate $${name:+--model="$$name"}; \
	$(DVC) repro $${name:+"analyze@$$name" "summary@$$name" "evaluate_engines@$$name"}; \
	$(RUN) -m octet partition $${name:+--model="$$name"}; \
	$(RUN) -m octet summary

track: .venv/.ready git-or-not  ## Give the checkpoint and data of MODEL=name to DVC and git: experiments with --temp and in the queue need it
	@$(RUN) -m octet track $(FOR_MODEL)

timm: .venv/timm/.locked  ## Install timm and torchvision, for models of theirs; 50 MB

openvino: .venv/openvino/.locked  ## Install OpenVINO, for models whose engines name it; 50 MB

zoo: .venv/.ready  ## List the models of mmcls's zoo: input size, parameters, published top-1, whether Octet converts them; FIND=part
	@$(RUN) -m octet zoo $(FOR_FIND)

tune: .venv/.ready git-or-not $(if $(value DEVICE),.venv-runner/.locked)  ## Find the fastest kernel for each layer of MODEL=name on this machine, on DEVICE=name or with the ncnn of RUNTIME=release, as the target profile NAME=name
	@[ -n "$$MODEL" ] || { echo "make tune: which model? MODEL=name, a name under 'models' in params.yaml" >&2; exit 1; }
	@$(RUN) -m octet validate --model="$$MODEL" $${NAME:+--profile="$$NAME"}
	@$(DVC) repro --quiet "calibrate@$$MODEL"
	@if [ -z "$$DEVICE$$RUNTIME" ]; then $(RUN) -m octet.tune "models/$$MODEL" --out "configs/targets/$${NAME:-$$MODEL}.yaml"; \
	else $(RUN) -m octet tune --model="$$MODEL" $${NAME:+--profile="$$NAME"} $${DEVICE:+--device="$$DEVICE"} $${RUNTIME:+--runtime="$$RUNTIME"}; fi

best: .venv/.ready git-or-not $(if $(value DEVICE),.venv-runner/.locked)  ## Search the fastest int8 of MODEL=name that loses at most DROP=points or KL=nats, for MINUTES=10, here or on DEVICE=name, and write it into params.yaml
	@[ -n "$$MODEL" ] || { echo "make best: which model? MODEL=name, a name under 'models' in params.yaml" >&2; exit 1; }
	@[ -z "$$DROP" ] || [ -z "$$KL" ] || { echo "make best: DROP is a budget in points of top-1, KL one in nats: give one of them" >&2; exit 1; }
	@$(RUN) -m octet validate --model="$$MODEL"
	@$(RUN) -m octet best --model="$$MODEL" $(FOR_BEST) --check
	@$(DVC) repro --quiet "convert@$$MODEL"
	@$(RUN) -m octet best --model="$$MODEL" $(FOR_BEST)

test: .venv/.ready git-or-not  ## Run all tests but the slow ones, a file at a time in each of two processes; PYTEST='-k table -x' gives pytest more options
	@$(PY) -m pytest -m 'not slow' -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST)

test-unit: .venv/.ready  ## Run the tests of the library alone
	@$(PY) -m pytest -m unit $(PYTEST)

test-slow: .venv/.ready git-or-not  ## Run the slow tests
	@$(PY) -m pytest -m slow $(PYTEST)

fuzz: .venv/.ready .venv/fuzz/.locked  ## Give the readers files of any bytes for MINUTES=5 in all, led by what code they reach; what fails becomes a case of the tests
	@$(PY) -m tests.fuzz $${MINUTES:+--minutes="$$MINUTES"}

accuracy-baselines: .venv/.ready  ## Measure again how far int8 is from fp32, which the tests hold, into tests/accuracy_baselines.yaml
	@$(PY) -m tests.accuracy

predict: .venv/.ready  ## Show what torch, ncnn fp32, ncnn int8 and the other engines of a model predict for IMAGE=file or folder, or for a few test images; MODEL=name
	@$(RUN) -m octet predict $(FOR_MODEL) $${IMAGE:+--image="$$IMAGE"}

runner: .venv/.ready .venv-runner/.locked  ## Build the program that runs models on phones and boards: static, for aarch64 and x86-64
	@$(RUN) -m octet runner

devices: .venv/.ready .venv-runner/.locked  ## Try each device of configs/devices, and print what it is
	@$(RUN) -m octet devices

device: .venv/.ready .venv-runner/.locked  ## Run fp32, ncnn's default float and int8 on DEVICE=name; MODEL=name, IMAGES=200
	@$(RUN) -m octet device --device="$$DEVICE" $(FOR_MODEL) $${IMAGES:+--images="$$IMAGES"}

runtimes: .venv/.ready $(if $(value DEVICE),.venv-runner/.locked)  ## Run fp32 and int8 of all models or MODEL=name on other releases of ncnn, RUNTIMES="1.0.20221128 1.0.20250916", here or on DEVICE=name; IMAGES=200
	@$(RUN) -m octet runtimes $(FOR_MODEL) $${DEVICE:+--device="$$DEVICE"} $${IMAGES:+--images="$$IMAGES"} $${RUNTIMES:+--runtimes="$$RUNTIMES"}

device-clean: .venv/.ready  ## Remove what was put on DEVICE=name
	@$(RUN) -m octet device-clean --device="$$DEVICE"

report: .venv/.ready git-or-not  ## Write reports/NAME/report.html, one page with all figures, layers and images, of all models or MODEL=name
	@$(RUN) -m octet report $(FOR_MODEL)

package: .venv/.ready $(if $(value RUNNER),.venv-runner/.locked)  ## Write dist/NAME-int8.zip: model, examples, model card, MMDeploy SDK files; of all models or MODEL=name; ENGINE=onnxruntime; RUNNER=1 adds the runner
	@case $$RUNNER in ''|1) ;; *) echo "make package: RUNNER=1 adds the runner; without it there is none" >&2; exit 1 ;; esac
	@$(RUN) -m octet package $(FOR_MODEL) $${ENGINE:+--engine="$$ENGINE"} $${RUNNER:+--runner}

example: .venv/.ready .venv-runner/.locked  ## Build the C++ example of the zip for aarch64 and x86-64, into dist/; of all models or MODEL=name
	@$(RUN) -m octet example $(FOR_MODEL)

dump: .venv/.ready  ## Write what fp32 and int8 predict for every test image as JSON lines, of all models or MODEL=name
	@$(RUN) -m octet dump $(FOR_MODEL)

env: .venv/.ready  ## Print what a bug report needs: versions, processor, threads, which target fits
	@$(RUN) -m octet env

check: .venv/.ready  ## Fail where int8 loses more than params.yaml allows, here or on a device; for all models or MODEL=name
	@$(RUN) -m octet check $(FOR_MODEL)

schema: .venv/.ready  ## Write configs/params.schema.json and docs/parameters.md anew, from octet/core/params.py
	@$(RUN) -m octet schema

# All four run, whatever the first of them finds: one run says all there is to say.
lint: .venv/.ready  ## Check style, types and which room imports which; changes nothing
	@failed=0; \
	$(PY) -m ruff check . || failed=1; \
	$(PY) -m ruff format --check . || failed=1; \
	$(PY) -m mypy || failed=1; \
	.venv/bin/lint-imports --no-logo || failed=1; \
	exit $$failed

format: .venv/.ready  ## Format the code, and mend what ruff can mend by itself
	@$(PY) -m ruff check --fix-only --quiet .
	@$(PY) -m ruff format .

bench-pipeline: .venv/.ready git-or-not  ## Time calibration and evaluation, and show that memory does not grow
	@$(PY) -m tests.bench.pipeline

bench-loop: .venv/.ready git-or-not  ## Time all stages, analyze and an experiment at the commit OLD=commit and at the newest, in turn; NEW=commit
	@$(PY) -m tests.bench.loop $${OLD:+--old="$$OLD"} $${NEW:+--new="$$NEW"} $(FOR_MODEL)

bench-data: .venv/.ready  ## Time reading images beside computing on them
	@$(PY) -m tests.bench.data

bench-cifar: .venv/.ready  ## Run the pipeline on CIFAR-10 as JPEG class folders, all test images, and print MMDeploy's table
	@$(PY) -m tests.bench.cifar_jpeg

zoo-table: .venv/.ready  ## Export, convert and quantize every network of mmcls's zoo with random weights, into docs/; hours; FIND=part
	@$(PY) -m tests.bench.zoo $(FOR_FIND)

zoo-engines: .venv/.ready .venv/openvino/.locked .venv/timm/.locked  ## int8 in ONNX Runtime, OpenVINO and for TensorRT for the smallest networks of each family, into docs/; an hour; FIND=part
	@$(RUN) -m tests.bench.zoo.engines $(FOR_FIND)

library-table: .venv/.ready .venv/timm/.locked  ## The same of some networks of timm and torchvision; half an hour
	@$(RUN) -m tests.bench.zoo.libraries $(FOR_FIND)

bench-int8: .venv/.ready .venv-bench/.locked  ## Time int8 beside ONNX Runtime's and OpenVINO's, and the calibrators
	@$(PY) -m tests.bench.int8

bench-instructions: .venv/.ready .venv-runner/.locked  ## Count the instructions of one image on emulated Arm processors, by target; needs qemu-user; MODEL=name
	@$(PY) -m tests.bench.instructions $(FOR_MODEL)

bench-peers: .venv/.ready .venv-bench/.locked  ## Compare with ncnn2int8, ONNX Runtime and OpenVINO: top-1, divergence, speed, size, memory; MODEL=name
	@$(PY) -m tests.bench.compare $(FOR_MODEL)

bench-large: .venv/.ready .venv-bench/.locked  ## The same speeds of ResNet-50 at 224x224, with random weights
	@$(PY) -m tests.bench.large

bench-best: .venv/.ready git-or-not  ## Compare what make best finds with 40 random settings under the same budgets; hours; MODEL=name
	@$(DVC) repro --quiet data/dvc.yaml
	@$(PY) -m tests.bench.best $(FOR_MODEL)

bench-mmpretrain: .venv/.ready .venv-mmpretrain/.locked  ## Run the same checkpoints in mmpretrain and in Octet, into docs/mmpretrain.md
	@$(PY) -m tests.bench.mmpretrain

chart: .venv/.ready  ## Draw what bench-peers measured as docs/images/peers.svg
	@$(RUN) -m octet chart

screenshots: .venv/.ready git-or-not  ## Take the README's images of the report and of predict, into docs/images; needs chromium; MODEL=name
	@$(PY) -m tests.bench.screenshots $(FOR_MODEL)

sweep-calibrators: .venv/.ready  ## Compare all calibrators with 32 to 2,048 images, into docs/calibrators.md
	@$(PY) -m tests.bench.sweep calibrators $(FOR_MODEL)

sweep-recovery: .venv/.ready  ## Compare GPTQ, equalization and mixed precision, into docs/accuracy-recovery.md
	@$(PY) -m tests.bench.sweep recovery $(FOR_MODEL)

# Of the pipeline's outputs those that git ignores go: dvc.yaml's cached ones. The metrics in git stay, and so do
# what data/dvc.yaml and models/dvc.yaml made (data sets, checkpoints) and DVC's cache, .dvc/cache: the next
# `make quantize` takes from there what it has seen before (`dvc repro --force` runs everything again).
clean:  ## Remove the pipeline's outputs and what tools left behind (not checkpoints, data sets, DVC's cache)
	@if [ -e .venv/.ready ]; then $(PY) -c 'from dvc.repo import Repo; \
		stages = Repo(config={"core": {"no_scm": True}}).index.stages; \
		[o.remove() for s in stages if s.path_in_repo == "dvc.yaml" for o in s.outs if o.use_cache]'; fi
	@rm -rf .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis build reports
	@find . \( -path ./.git -o -path ./.venv -o -path ./.venv-bench -o -path ./.venv-mmpretrain -o -path ./.venv-runner -o -path ./.runner -o -path ./.runtimes -o -path ./.dvc \) -prune -o \
		\( -name __pycache__ -o -name '*.partial' \) -prune -exec rm -rf {} +

distclean: clean  ## clean, and remove .venv, .venv-bench, .venv-runner, the runner, other releases and what zoo-table measured and fuzz reached
	@rm -rf .venv .venv-bench .venv-mmpretrain .venv-runner .runner .runtimes .zoo .fuzz octet.egg-info

# DVC refuses to run outside git unless core.no_scm says so; it would also take an unrelated repository around
# this folder for ours. So the setting follows what is there, in the file that git ignores.
git-or-not: .venv/.ready
	@here=$$(git rev-parse --show-prefix 2>/dev/null) && \
		{ [ -z "$$here" ] || git ls-files --error-unmatch Makefile >/dev/null 2>&1; } && git=yes || git=no; \
	grep -Eqs '^[[:space:]]*no_scm[[:space:]]*=[[:space:]]*[Tt]rue' .dvc/config.local && off=yes || off=no; \
	case $$git-$$off in \
	no-no) $(RUN) -m dvc config --quiet --local core.no_scm true && \
		if LC_ALL=C git rev-parse 2>&1 | grep -q 'dubious ownership'; then \
			echo "git does not trust this folder, which belongs to another user (dubious ownership): DVC runs without git."; \
			echo "'git config --global --add safe.directory' with this folder's path behind it tells git that you do."; else \
		echo "No git work tree of this folder: DVC runs without git; dvc metrics diff, params diff and exp need a clone."; fi ;; \
	yes-yes) $(RUN) -m dvc config --quiet --local --unset core.no_scm ;; \
	esac

# timm and torchvision, in a folder of their own: mmcv would import a torchvision that lies beside it. Without what they ask for
# besides: torch, numpy, pillow and PyYAML are there already, and Octet reads safetensors and fetches weights itself.
.venv/timm/.locked: requirements-timm.lock | .venv/.ready
	@if cmp -s requirements-timm.lock $@; then touch $@; exit 0; fi; set -e; \
	echo ".venv/timm: installing timm and torchvision"; \
	rm -rf .venv/timm; $(PIP) install --no-deps --target .venv/timm -r requirements-timm.lock; \
	cp requirements-timm.lock $@

# OpenVINO, which only models that name it need. It asks for numpy and nothing else that matters (its telemetry stays off).
.venv/openvino/.locked: requirements-openvino.lock | .venv/.ready
	@if cmp -s requirements-openvino.lock $@; then touch $@; exit 0; fi; set -e; \
	echo ".venv/openvino: installing OpenVINO"; \
	rm -rf .venv/openvino; $(PIP) install --no-deps --target .venv/openvino -r requirements-openvino.lock; \
	cp requirements-openvino.lock $@

# What leads `make fuzz`, in a folder of its own. It is compiled, for Linux on x86-64 and not for Python 3.10: where it cannot be had,
# `make fuzz` says so and goes on without; the next one tries again.
.venv/fuzz/.locked: requirements-fuzz.lock | .venv/.ready
	@if cmp -s requirements-fuzz.lock $@; then touch $@; exit 0; fi; \
	echo ".venv/fuzz: installing atheris"; \
	rm -rf .venv/fuzz; if $(PIP) install --no-deps --only-binary :all: --target .venv/fuzz -r requirements-fuzz.lock; then \
		cp requirements-fuzz.lock $@; else rm -rf .venv/fuzz; fi

# .venv/.locked says that .venv holds what the copy of the lock in it says; only a finished install writes it, and
# anything else in .venv is thrown away and made anew. .venv/.ready says that octet itself is in it, too.
.venv/.ready: .venv/.locked pyproject.toml
	@rm -f $@
	@echo "octet: installing the package itself, as a link to this folder"
	@$(PIP) install --no-deps --no-build-isolation -e .
	@problems=$$(.venv/bin/python -m pip --disable-pip-version-check check) || { echo "$$problems" >&2; exit 1; }
	@touch $@

# The other engines' current releases want newer packages than PPQ: an environment of their own. Git does not see it.
.venv-bench/.locked: requirements-bench.lock | .venv/.ready
	@if cmp -s requirements-bench.lock $@; then touch $@; exit 0; fi; set -e; \
	echo ".venv-bench: making it, and installing all of requirements-bench.lock"; \
	rm -rf .venv-bench; .venv/bin/python -m venv .venv-bench; echo '*' > .venv-bench/.gitignore; \
	.venv-bench/bin/python -m pip --disable-pip-version-check --no-input -qq install -r requirements-bench.lock; \
	problems=$$(.venv-bench/bin/python -m pip --disable-pip-version-check check) || { echo "$$problems" >&2; exit 1; }; \
	cp requirements-bench.lock $@

# The compilers of `make runner`, which are large and which nothing else needs.
.venv-runner/.locked: requirements-runner.lock | .venv/.ready
	@if cmp -s requirements-runner.lock $@; then touch $@; exit 0; fi; set -e; \
	[ -z "$$DEVICE" ] || $(PY) -c 'from os import environ; from octet.core.errors import run; from octet.device.devices import load; run(lambda: load(environ["DEVICE"]))'; \
	echo ".venv-runner: making it, and installing the compilers of requirements-runner.lock"; \
	rm -rf .venv-runner; .venv/bin/python -m venv .venv-runner; echo '*' > .venv-runner/.gitignore; \
	.venv-runner/bin/python -m pip --disable-pip-version-check --no-input -qq install -r requirements-runner.lock; \
	cp requirements-runner.lock $@

# mmpretrain wants mmcv 2, which mmcls cannot have beside it: an environment of its own. Git does not see it.
.venv-mmpretrain/.locked: tests/bench/mmpretrain/requirements.txt | .venv/.ready
	@if cmp -s $< $@; then touch $@; exit 0; fi; set -e; \
	echo ".venv-mmpretrain: making it, and installing all of $<"; \
	rm -rf .venv-mmpretrain; .venv/bin/python -m venv .venv-mmpretrain; echo '*' > .venv-mmpretrain/.gitignore; \
	.venv-mmpretrain/bin/python -m pip --disable-pip-version-check --no-input -qq install 'setuptools==79.0.1' wheel; \
	.venv-mmpretrain/bin/python -m pip --disable-pip-version-check --no-input -qq install -r $<; \
	cp $< $@

# mmcv and antlr4 exist as source only. mmcv's build imports pkg_resources, which build isolation's newest setuptools
# no longer has, and asks for the opencv that needs libGL unless it finds one: so both are built against what the
# first step installed, and never taken from pip's cache, which might hold one built elsewhere. octet/project/mmcv_build
# is for mmcv's build on Python 3.13. All else is one list, whose markers say what is for which Python;
# requirements.cuda.lock only says which versions of what torch's CUDA build asks for, where pip finds that build.
.venv/.locked: requirements.lock requirements.cuda.lock
	@if cat $^ | cmp -s - $@; then touch $@; exit 0; fi; set -e; \
	if [ -n "$$PYTHON" ]; then set -- "$$PYTHON"; else set -- python3.11 python3.12 python3.10 python3.13 python3 python; fi; \
	python=; for name in "$$@"; do \
		if "$$name" -c 'import sys, ensurepip, venv; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; \
		then python=$$name; break; fi; done; \
	if [ -z "$$python" ]; then \
		echo "Octet needs a Python from 3.10 to 3.13 with its venv module, and found none as: $$*. Install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; fi; \
	echo ".venv: making it with $$python"; \
	rm -rf .venv; "$$python" -m venv .venv; \
	echo ".venv: installing setuptools, numpy and OpenCV"; \
	$(PIP) install -c requirements.lock setuptools wheel numpy opencv-python-headless; \
	echo ".venv: building mmcv and antlr4"; \
	PYTHONPATH="$$PWD/octet/project/mmcv_build" MMCV_WITH_OPS=0 $(PIP) install --no-cache-dir --no-build-isolation --no-deps -c requirements.lock mmcv antlr4-python3-runtime; \
	echo ".venv: installing all of requirements.lock (torch is the big one; minutes)"; \
	$(PIP) install -r requirements.lock -c requirements.cuda.lock; \
	cat $^ > $@
