# Four images. Mounted folders must be writable for user id 1000.
#   predict    docker build -t medtune-predict .                           (without torch, CPU; the default target)
#              docker run --rm --network none -v $PWD/artifacts/export:/bundle:ro -v $PWD/images:/images:ro \
#                medtune-predict /bundle /images > predictions.csv
#   serve      docker build --target serve -t medtune-serve .              (the same with the HTTP service, port 8000)
#              docker run --rm -p 8000:8000 -v $PWD/artifacts/export:/bundle:ro medtune-serve
#   serve-gpu  docker build --target serve-gpu -t medtune-serve-gpu .      (with the CUDA libraries, Linux x86-64)
#              docker run --rm --gpus all -p 8000:8000 -v $PWD/artifacts/export:/bundle:ro medtune-serve-gpu
#   train      docker build --target train -t medtune-train .
#              docker run --rm --gpus all -v $PWD/data:/app/data -v $PWD/artifacts:/app/artifacts medtune-train
FROM python:3.13-slim AS base
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PATH=/opt/venv/bin:$PATH
RUN useradd --uid 1000 --create-home medtune && install -d -o medtune -g medtune /app
WORKDIR /app

FROM base AS installer
COPY requirements/bootstrap.lock /requirements/
RUN python -m pip install --no-cache-dir --disable-pip-version-check --require-hashes -r /requirements/bootstrap.lock \
    && uv venv /opt/venv
ENV UV_NO_CACHE=1 UV_LINK_MODE=copy VIRTUAL_ENV=/opt/venv

# medtune/ contains links to other files and folders of the checkout, so these are copied too.
FROM installer AS wheel
COPY requirements/dev.lock /requirements/
COPY pyproject.toml README.md LICENSE params.yaml benchmark.yaml dvc.yaml prefect.yaml ./
COPY recipes/ recipes/
COPY flows/ flows/
COPY models/ models/
COPY stages/ stages/
COPY medtune/ medtune/
RUN uv build --wheel --build-constraints /requirements/dev.lock --require-hashes --out-dir /wheel .

FROM installer AS predict-env
COPY requirements/predict.lock /requirements/
RUN uv pip install --require-hashes --compile-bytecode -r /requirements/predict.lock
COPY --from=wheel /wheel /wheel
RUN uv pip install --no-deps --compile-bytecode /wheel/*.whl

FROM installer AS serve-env
COPY requirements/serve.lock /requirements/
RUN uv pip install --require-hashes --compile-bytecode -r /requirements/serve.lock
COPY --from=wheel /wheel /wheel
RUN uv pip install --no-deps --compile-bytecode /wheel/*.whl

FROM installer AS serve-gpu-env
COPY requirements/serve-gpu.lock /requirements/
RUN uv pip install --require-hashes --compile-bytecode -r /requirements/serve-gpu.lock
COPY --from=wheel /wheel /wheel
RUN uv pip install --no-deps --compile-bytecode /wheel/*.whl

FROM installer AS train-env
COPY requirements/train.lock /requirements/
RUN uv pip install --require-hashes --compile-bytecode -r /requirements/train.lock
COPY --from=wheel /wheel /wheel
RUN uv pip install --no-deps --compile-bytecode /wheel/*.whl

# DVC needs git, and so does retraining in a mounted checkout (compose.yaml).
FROM base AS train
RUN apt-get update && apt-get install --yes --no-install-recommends git && rm -rf /var/lib/apt/lists/*
COPY --from=train-env /opt/venv /opt/venv
COPY --chown=medtune:medtune params.yaml benchmark.yaml dvc.yaml prefect.toml prefect.yaml ./
COPY --chown=medtune:medtune recipes/ recipes/
USER medtune
CMD ["sh", "-c", "medtune data && medtune train"]

FROM base AS serve-gpu
COPY --from=serve-gpu-env /opt/venv /opt/venv
USER medtune
EXPOSE 8000
ENTRYPOINT ["medtune", "serve", "--host", "0.0.0.0", "--provider", "cuda"]
CMD ["/bundle"]

FROM base AS serve
COPY --from=serve-env /opt/venv /opt/venv
USER medtune
EXPOSE 8000
ENTRYPOINT ["medtune", "serve", "--host", "0.0.0.0"]
CMD ["/bundle"]

FROM base AS predict
COPY --from=predict-env /opt/venv /opt/venv
USER medtune
ENTRYPOINT ["medtune", "predict"]
