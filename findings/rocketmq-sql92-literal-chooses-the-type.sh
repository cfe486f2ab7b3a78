#!/usr/bin/env bash
# The SQL92 filter of Apache RocketMQ 5.5.0, which its broker evaluates a consumer's MessageSelector.bySql with,
# compares properties (which are always text) with numbers.
#
# Expected: 7.5 and 3000000000 are greater than 5, and zero may be written 0.0.
# Seen: the literal chooses the type that the property is read as. Beside 5 it is read as a Java Integer, which
#   7.5 and 3000000000 are not: the evaluation ends with an exception, after which a broker leaves
#   the message out, also when the other side of an OR would have been true. Beside 5.0 both match. The literal 0.0
#   is refused as too small, as is any number that is zero with a point.
# Why it matters: "price > 5" selects prices until one has a fraction or grows large; those messages are never
#   delivered, and only the log of the broker tells.
#
# Needs a JDK 11 or later with Maven.
set -euo pipefail
. "$(dirname "$0")/support.sh"

sql92_filter

{
  sql92_ask 'price > 5' price 7
  sql92_ask 'price > 5' price 7.5
  sql92_ask 'price > 5' price 3000000000
  sql92_ask 'price > 5.0' price 7.5
  sql92_ask 'price > 5.0' price 3000000000
  sql92_ask 'price > 5 OR price > 5.0' price 7.5
  sql92_ask 'price > 0.0' price 7.5
} | tee seen

as_described <<'EXPECTED'
price > 5                    price=7            true
price > 5                    price=7.5          RuntimeException
price > 5                    price=3000000000   RuntimeException
price > 5.0                  price=7.5          true
price > 5.0                  price=3000000000   true
price > 5 OR price > 5.0     price=7.5          RuntimeException
price > 0.0                  price=7.5          MQFilterException
EXPECTED
