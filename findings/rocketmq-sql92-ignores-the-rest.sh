#!/usr/bin/env bash
# The SQL92 filter of Apache RocketMQ 5.5.0, which its broker compiles a consumer's MessageSelector.bySql with,
# is given expressions whose first part is complete and whose rest is not of its grammar: words of other SQL
# dialects, arithmetic, a parenthesis too many.
#
# Expected: each is refused, as an incomplete expression is, and the consumer does not start.
# Seen: each compiles. The grammar has no end of input, so what follows the first complete expression is left
#   out in silence: "price > 5) AND region = 'eu'" selects by the price alone, "region LIKE 'eu%'" is the
#   condition "region", which is false for every text, and "price > 1 + 8" is "price > 1".
# Why it matters: a selector written for JMS or MySQL passes every check at the start of the consumer and
#   then selects too much or nothing; no log says so.
#
# Needs a JDK 11 or later with Maven.
set -euo pipefail
. "$(dirname "$0")/support.sh"

sql92_filter

{
  sql92_ask "price > 5) AND region = 'eu'" price 7
  sql92_ask "region LIKE 'eu%'" region eu-west
  sql92_ask 'price > 1 + 8' price 7
  sql92_ask 'price > 5 AND' price 7
} | tee seen

as_described <<'EXPECTED'
price > 5) AND region = 'eu' price=7            true
region LIKE 'eu%'            region=eu-west      false
price > 1 + 8                price=7            true
price > 5 AND                price=7            MQFilterException
EXPECTED
