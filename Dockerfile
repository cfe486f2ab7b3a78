FROM node:20-slim AS build
WORKDIR /src
COPY . .
RUN npm ci && npm run build && npm prune --omit=dev

FROM node:20-slim
WORKDIR /opt/trivetmq
COPY --from=build /src/package.json ./
COPY --from=build /src/node_modules ./node_modules
COPY --from=build /src/bin ./bin
COPY --from=build /src/dist/src ./dist/src
COPY --from=build /src/dist/dashboard ./dist/dashboard
RUN ln -s /opt/trivetmq/bin/trivet.cjs /usr/local/bin/trivet \
 && install -d -o node -g node -m 0700 /var/lib/trivetmq
ENV NODE_ENV=production TRIVET_DATA_DIR=/var/lib/trivetmq TRIVET_CONFIG=/etc/trivetmq/trivet.json
USER node
VOLUME /var/lib/trivetmq
EXPOSE 9876 10909 10911 1883 5672 9877
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=10m \
 CMD ["node", "-e", "fetch('http://127.0.0.1:9877/healthz').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["trivet"]
CMD ["start"]
