# Two images. The consumer's, without torch (the default):
#   docker build -t medtune-handoff .
#   docker run --rm --network none -v $PWD/artifacts/export:/bundle:ro -v $PWD/images:/images:ro \
#     medtune-handoff /bundle /images > predictions.csv
# The same with the HTTP service (port 8000):  docker build --target serve -t medtune-serve .
# The one that trains:                         docker build --target train -t medtune-train .
#   docker run --rm --gpus all -v $PWD/data:/app/data -v $PWD/artifacts:/app/artifacts medtune-train
# Mounted folders must be writable for user id 1000.
FROM python:3.11-slim AS base
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PATH=/opt/venv/bin:$PATH
RUN useradd --uid 1000 --create-home medtune && install -d -o medtune -g medtune /app
WORKDIR /app

FROM base AS installer
COPY requirements/bootstrap.lock /requirements/
RUN python -m pip install --no-cache-dir --disable-pip-version-check --require-hashes -r /requirements/bootstrap.lock \
    && python -m uv venv /opt/venv
ENV UV_NO_CACHE=1 UV_LINK_MODE=copy VIRTUAL_ENV=/opt/venv

FROM installer AS handoff-env
COPY requirements/handoff.lock /requirements/
RUN /usr/local/bin/uv pip install --require-hashes --compile-bytecode -r /requirements/handoff.lock

FROM handoff-env AS serve-env
COPY requirements/serve.lock /requirements/
RUN /usr/local/bin/uv pip install --require-hashes --compile-bytecode -r /requirements/serve.lock

FROM installer AS train-env
COPY requirements/train.lock /requirements/
RUN /usr/local/bin/uv pip install --require-hashes --compile-bytecode -r /requirements/train.lock

FROM base AS train
COPY --from=train-env /opt/venv /opt/venv
COPY --chown=medtune:medtune . .
ENV PYTHONPATH=/app
USER medtune
CMD ["sh", "-c", "python -m medtune.stages.data && python -m medtune.flows.train"]

FROM base AS serve
COPY --from=serve-env /opt/venv /opt/venv
COPY medtune/__init__.py medtune/
COPY medtune/serving/ medtune/serving/
USER medtune
EXPOSE 8000
ENTRYPOINT ["python", "-m", "medtune.serving.http", "--host", "0.0.0.0"]
CMD ["/bundle"]

FROM base AS handoff
COPY --from=handoff-env /opt/venv /opt/venv
COPY medtune/__init__.py medtune/
COPY medtune/serving/ medtune/serving/
USER medtune
ENTRYPOINT ["python", "-m", "medtune.serving.predict"]
