#!/bin/bash
# The compiler's thresholds are those of the local shop (platform/processes/servers.ts): it compiles
# only what is really hot, and leaves the cores to the pods that start.
exec java ${KAFKA_HEAP_OPTS:--Xmx512m} -XX:+UseSerialGC \
  -XX:Tier4InvocationThreshold=50000 -XX:Tier4MinInvocationThreshold=6000 \
  -XX:Tier4CompileThreshold=150000 -XX:Tier4BackEdgeThreshold=400000 \
  -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp '/opt/kafka/libs/*' kafka.Kafka "$@"
