#!/bin/bash
# Go, Java, node.
/opt/programs/service-go
java -XX:+UseSerialGC -cp /opt/programs Service
java -cp /opt/programs Service | head -1
node /opt/programs/node.js
