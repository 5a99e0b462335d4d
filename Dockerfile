# The service of hubspoke: docker build -t hubspoke . (compose.yaml runs it beside PostgreSQL)
FROM python:3.11-slim AS build
WORKDIR /src
COPY . .
RUN python -m venv /opt/hubspoke
RUN /opt/hubspoke/bin/python -m pip install --no-cache-dir --disable-pip-version-check ".[cpu,serve,rerank,postgres]"

FROM python:3.11-slim
RUN useradd --create-home --uid 10001 hubspoke && mkdir /workspace && chown hubspoke /workspace
COPY --from=build /opt/hubspoke /opt/hubspoke
ENV PATH=/opt/hubspoke/bin:$PATH HUBSPOKE_WORKSPACE=/workspace OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1
USER hubspoke
WORKDIR /workspace
VOLUME /workspace
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/v2/health/live')"]
ENTRYPOINT ["hubspoke"]
CMD ["serve", "--host", "0.0.0.0", "--keys", "/workspace/keys.json"]
