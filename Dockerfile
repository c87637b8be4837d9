FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN python -m venv /opt/ktrdr-otel \
 && /opt/ktrdr-otel/bin/pip install --no-cache-dir --constraint constraints.txt '.[gpu,notify,pipeline,postgresql,samples,server,stacks]'

FROM python:3.11-slim-bookworm
RUN useradd --create-home --uid 10002 ktrdr
COPY --from=build /opt/ktrdr-otel /opt/ktrdr-otel
COPY --from=build /src/pipeline/strategies /home/ktrdr/pipeline/strategies
COPY --chmod=0755 dashboards/with-secrets /usr/local/bin/with-secrets
ENV PATH=/opt/ktrdr-otel/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /home/ktrdr
USER ktrdr
EXPOSE 9464
ENTRYPOINT ["/usr/local/bin/with-secrets", "ktrdr-otel"]
CMD ["serve"]
