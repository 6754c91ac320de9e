-- The bill of a statement ($1, see statementJSON), computed with whole numbers and
-- numeric alone. Division is div() and mod(), which are exact; nothing is rounded but
-- where it says so.
with recursive
statement as (
	select s, ((s->>'to')::timestamptz at time zone (s->>'zone'))::date
		- ((s->>'from')::timestamptz at time zone (s->>'zone'))::date as month,
		power(10::numeric, (s->>'exponent')::int)::numeric as scale
	from (select $1::jsonb as s) as given),
part as (
	select n, (p->>'from')::timestamptz as began, (p->>'to')::timestamptz as ended, p->'version' as version, p->'usage' as usage,
		((p->>'to')::timestamptz at time zone (s->>'zone'))::date - ((p->>'from')::timestamptz at time zone (s->>'zone'))::date as days
	from statement, jsonb_array_elements(s->'parts') with ordinality as part(p, n)),
-- Each component of each part, as what it asks: numbers as numbers, without its name.
component as (
	select part.*, c->>'key' as key, c->>'kind' as kind, coalesce((c->>'tax_percent')::bigint, 0) as tax,
		c->>'meter' as meter, c->>'model' as model, coalesce((c->>'amount')::numeric, 0) as amount,
		case when c->>'meter' = 'gb_out' then 1000000000 else coalesce((c->>'per_seconds')::numeric, 60) end as per,
		coalesce((c->>'included')::numeric, 0) as included, coalesce((c->>'unit_price')::numeric, 0) as price,
		coalesce((c->>'package_size')::numeric, 0) as size,
		(select coalesce(array_agg(array[(t->>'up_to')::numeric, (t->>'unit_price')::numeric, coalesce((t->>'flat')::numeric, 0)] order by i), '{}')
			from jsonb_array_elements(c->'tiers') with ordinality as tier(t, i)) as tiers,
		version->'rule'->>'scope' as scope, (version->'rule'->>'increment_seconds')::numeric as increment,
		(version->'rule'->>'minimum_seconds')::numeric as minimum
	from part, jsonb_array_elements(nullif(version->'components', 'null')) as component(c)),
-- Where a component asks the same in the next part, both are one run.
marked as (
	select *, case when (lag(ended) over one = began
			and (lag(kind) over one, lag(tax) over one, lag(amount) over one, lag(included) over one, lag(price) over one, lag(size) over one)
				= (kind, tax, amount, included, price, size)
			and (kind = 'flat' or (lag(meter) over one, lag(model) over one, lag(per) over one, lag(tiers) over one) = (meter, model, per, tiers)
				or (lag(meter) over one, lag(model) over one, lag(per) over one) = (meter, model, per)
					and lag(tiers) over one is not distinct from tiers)
			and (meter is distinct from 'connection_minutes' or (lag(scope) over one = 'connection' and scope = 'connection')
				or (lag(scope) over one, lag(increment) over one, lag(minimum) over one) = (scope, increment, minimum))) is true
		then 0 else 1 end as starts
	from component window one as (partition by key order by n)),
numbered as (select *, sum(starts) over (partition by key order by n) as run from marked),
run as (
	select key, run, min(began) as began, sum(days) as days, (array_agg(kind))[1] as kind, (array_agg(tax))[1] as tax,
		(array_agg(meter))[1] as meter, (array_agg(model))[1] as model, (array_agg(amount))[1] as amount, (array_agg(per))[1] as per,
		(array_agg(included))[1] as included, (array_agg(price))[1] as price, (array_agg(size))[1] as size,
		(array_agg(scope order by n desc))[1] as scope, (array_agg(increment order by n desc))[1] as increment, (array_agg(minimum order by n desc))[1] as minimum,
		min(n) as first, sum((usage->>'seconds')::numeric) as seconds, sum((usage->>'billed_seconds')::numeric) as billed,
		sum((usage->>'bytes_out')::numeric) as bytes, sum((usage->>'recording_seconds')::numeric) as recording
	from numbered group by key, run),
-- What is priced, in seconds or bytes, and what of it is free.
counted as (
	select run.*, month, scale, case
			when meter = 'gb_out' then bytes
			when meter = 'recording_minutes' then recording
			when scope = 'connection' then billed
			when seconds = 0 then 0
			else increment * div(greatest(seconds, minimum) + increment - 1, increment) end as base,
		div(included * per * days, month) + (mod(included * per * days, month) > 0)::int as free
	from run, statement),
priced as (select *, greatest(0, base - free) as used from counted),
-- The tiers with their bounds for the days of the run.
tier as (
	select p.key, p.run, i, p.used, (t->>'unit_price')::numeric as unit, coalesce((t->>'flat')::numeric, 0) as flat,
		coalesce(lag(bound.upper) over each, 0) as lower, bound.upper
	from priced as p join numbered as c on c.key = p.key and c.n = p.first,
		jsonb_array_elements(jsonb_path_query_first(c.version, '$.components[*] ? (@.key == $key)', jsonb_build_object('key', p.key))->'tiers')
			with ordinality as tiers(t, i),
		lateral (select (t->>'up_to')::numeric * p.per * p.days as exact) as up_to,
		lateral (select div(exact, p.month) + (mod(exact, p.month) > 0)::int as upper) as bound
	window each as (partition by p.key, p.run order by i)),
tiers as (
	select p.key, p.run,
		sum(case when p.model = 'graduated' then (least(p.used, coalesce(upper, p.used)) - lower) * unit * p.month + flat * p.days * p.per
			else p.used * unit * p.month + flat * p.days * p.per end) as sum
	from tier join priced as p using (key, run)
	where p.used > lower and (p.model = 'graduated' or p.used <= coalesce(upper, p.used))
		and (p.model = 'volume' or coalesce(upper, p.used) > lower)
	group by p.key, p.run),
-- Each amount over one denominator: the seconds or bytes of a unit, times the days of the month.
exact as (
	select p.*, case
			when kind = 'flat' then amount * days * per
			when model = 'per_unit' then used * price * month
			when model = 'package' then (div(used, size * per) + (mod(used, size * per) > 0)::int) * price * per * month
			else coalesce(tiers.sum, 0) end as numerator, per * month as denominator
	from priced as p left join tiers using (key, run)),
line as (
	select key, began, tax, div(2 * numerator * scale + denominator, 2 * denominator) as amount from exact),
commitment as (
	select div(2 * sum((version->>'minimum')::numeric * days) + max(month), 2 * max(month))
			- coalesce((select sum(amount) from line), 0) as amount,
		(array_agg((version->>'minimum_tax')::bigint order by n desc))[1] as tax
	from part, statement where version ? 'minimum'),
all_lines as (
	select key, began, tax, amount from line
	union all select 'minimum', (s->>'from')::timestamptz, tax, amount from commitment, statement where amount > 0
	union all select null, null, (c->>'tax_percent')::bigint, (c->>'amount')::numeric from statement, jsonb_array_elements(s->'charges') as charge(c)),
direction as (select version->>'tax_rounding' as way from part order by n desc limit 1),
taxes as (
	select tax as percent, sign(sum(amount)) * div(abs(sum(amount)) * tax + case way when 'half_up' then 50 when 'up' then 99 else 0 end, 100) as amount
	from all_lines, direction group by tax, way)
select jsonb_build_object(
	'amounts', coalesce((select jsonb_agg(jsonb_build_object('key', key, 'from', began, 'amount', amount)) from all_lines where key is not null and amount <> 0), '[]'),
	'taxes', coalesce((select jsonb_agg(jsonb_build_object('percent', percent, 'amount', amount)) from taxes where amount <> 0), '[]'),
	'tax', coalesce((select sum(amount) from taxes), 0),
	'total', coalesce((select sum(amount) from all_lines), 0) + coalesce((select sum(amount) from taxes), 0))
