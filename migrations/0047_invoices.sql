-- Billing periods, invoices and credit notes, and who issues them to whom.

-- +goose Up
-- Who issues invoices. Numbers have no gaps: each is taken from this row, locked, in the
-- transaction that makes the document final.
create table issuer (
    issuer_id          text primary key,
    name               text not null default '',
    address            text not null default '',
    email              text not null default '',
    registration       text not null default '' check (registration ~ '^(T[0-9]{13})?$'), -- of a Japanese qualified invoice issuer
    bank_account       text not null default '',
    invoice_prefix     text not null default 'INV-',
    credit_note_prefix text not null default 'CN-',
    pay_days           integer not null default 30 check (pay_days between 0 and 365),
    next_invoice       bigint not null default 1,
    next_credit_note   bigint not null default 1,
    set_at             timestamptz -- null: nobody has said yet who issues, and nothing is made final
);
insert into issuer (issuer_id) values ('default');
grant select, insert, update on issuer to hibari_worker;

-- Whom a tenant's invoices are made out to. Without a row: the tenant's name.
create table billing_profile (
    tenant_id  text primary key references tenant,
    name       text not null default '',
    address    text not null default '',
    email      text not null default '',
    department text not null default '',
    reference  text not null default '', -- the customer's own, such as an order's number
    updated_at timestamptz not null default clock_timestamp()
);
select isolate('billing_profile');

-- The calendar months of a tenant, each of which begins where the last one ended. The zone
-- is the tenant's at its beginning. One is open; the others are closed.
create table billing_period (
    tenant_id text not null references tenant,
    month     date not null check (extract(day from month) = 1),
    starts_at timestamptz not null,
    ends_at   timestamptz not null,
    time_zone text not null,
    -- What was recorded before it and happened in the period is in the snapshot that was
    -- rated; what is recorded from it on is late and adjusts a later invoice.
    cutoff    timestamptz, -- null: open
    usage     jsonb,       -- the snapshot's quantities
    primary key (tenant_id, month),
    check (starts_at < ends_at),
    check (mod(extract(epoch from starts_at), 900) = 0 and mod(extract(epoch from ends_at), 900) = 0), -- usage is kept by quarter hours
    check (cutoff >= ends_at),
    check ((cutoff is null) = (usage is null)),
    constraint billing_period_overlap exclude using gist (tenant_id with =, tstzrange(starts_at, ends_at) with &&)
);
create unique index billing_period_open on billing_period (tenant_id) where cutoff is null;
create index billing_period_due on billing_period (ends_at) where cutoff is null;
select isolate('billing_period');
revoke insert, update, delete on billing_period from hibari_request;

-- One for each month and currency with something to pay.
create table invoice (
    tenant_id    text not null references tenant,
    invoice_id   text not null,
    month        date not null,
    currency     text not null,
    state        text not null default 'draft' check (state in ('draft', 'final')),
    cutoff       timestamptz not null,
    statement    jsonb not null, -- what was rated, so that anybody can do it again
    taxes        jsonb not null,
    subtotal     bigint not null,
    tax          bigint not null,
    total        bigint not null,
    created_at   timestamptz not null default clock_timestamp(),
    review_until timestamptz not null, -- made final by itself then
    held         boolean not null default false, -- unless this is set
    held_why     text not null default '',
    -- From here on: when it is final.
    issuer_id    text references issuer,
    sequence     bigint,
    number       text,
    issuer       jsonb, -- as they were then
    customer     jsonb,
    credit       bigint not null default 0, -- of prepaid credit, taken off what is due
    issued_on    date, -- in the period's time zone
    due_on       date,
    finalised_at timestamptz,
    finalised_by text, -- as in audit_entry.actor
    primary key (tenant_id, invoice_id),
    unique (tenant_id, month, currency),
    unique (issuer_id, sequence),
    unique (issuer_id, number),
    foreign key (tenant_id, month) references billing_period,
    check (total = subtotal + tax),
    check ((state = 'final') = (finalised_at is not null)),
    check ((state = 'final') = (number is not null and issuer_id is not null and sequence is not null and issuer is not null
        and customer is not null and issued_on is not null and due_on is not null and finalised_by is not null)),
    check (credit >= 0 and credit <= greatest(total, 0)),
    check (state = 'final' or credit = 0)
);
create index invoice_due on invoice (review_until) where state = 'draft';
create index invoice_issued on invoice (tenant_id, finalised_at desc) where state = 'final';
select isolate('invoice');
revoke insert, update, delete on invoice from hibari_request;

create table invoice_line (
    tenant_id   text not null references tenant,
    invoice_id  text not null,
    line        integer not null check (line > 0),
    kind        text not null,
    component   text not null,
    starts_at   timestamptz not null,
    ends_at     timestamptz not null,
    detail      jsonb not null,   -- all that was rated: quantities, prices, the steps of the arithmetic
    unrounded   numeric not null, -- in major units
    amount      bigint not null,
    tax_percent integer not null,
    hash        text not null,    -- of what it was rated from
    adjusts     date,             -- the month whose late facts it is for
    licence_id  text,             -- the licence whose beginning it charges
    added_by    text not null default '', -- by hand, with the reason
    reason      text not null default '',
    primary key (tenant_id, invoice_id, line),
    foreign key (tenant_id, invoice_id) references invoice,
    foreign key (tenant_id, licence_id) references licence,
    foreign key (tenant_id, adjusts) references billing_period (tenant_id, month),
    check (kind <> 'manual' or (added_by <> '' and reason <> ''))
);
-- The beginning of a licence is charged once.
create unique index invoice_line_licence on invoice_line (tenant_id, licence_id, component) where licence_id is not null;
create index invoice_line_adjusts on invoice_line (tenant_id, adjusts) where adjusts is not null;
select isolate('invoice_line');
revoke insert, update, delete on invoice_line from hibari_request;

-- What corrects a final invoice. It is final from its birth.
create table credit_note (
    tenant_id      text not null references tenant,
    credit_note_id text not null,
    invoice_id     text not null,
    currency       text not null,
    reason         text not null check (reason <> ''),
    taxes          jsonb not null,
    subtotal       bigint not null,
    tax            bigint not null,
    total          bigint not null,
    to_credit      boolean not null, -- its total became prepaid credit
    issuer_id      text not null references issuer,
    sequence       bigint not null,
    number         text not null,
    issuer         jsonb not null,
    customer       jsonb not null,
    issued_at      timestamptz not null default clock_timestamp(),
    issued_on      date not null,
    issued_by      text not null, -- as in audit_entry.actor
    primary key (tenant_id, credit_note_id),
    unique (tenant_id, credit_note_id, invoice_id),
    unique (issuer_id, sequence),
    unique (issuer_id, number),
    foreign key (tenant_id, invoice_id) references invoice,
    check (total = subtotal + tax)
);
create index credit_note_invoice on credit_note (tenant_id, invoice_id);
select isolate('credit_note');
revoke insert, update, delete on credit_note from hibari_request;
revoke update, delete on credit_note from hibari_worker;

create table credit_note_line (
    tenant_id      text not null references tenant,
    credit_note_id text not null,
    invoice_id     text not null,
    line           integer not null, -- of the invoice
    name           text not null,
    amount         bigint not null check (amount <> 0), -- taken off the line: of its sign
    tax_percent    integer not null,
    reason         text not null,
    primary key (tenant_id, credit_note_id, line),
    foreign key (tenant_id, credit_note_id, invoice_id) references credit_note (tenant_id, credit_note_id, invoice_id),
    foreign key (tenant_id, invoice_id, line) references invoice_line (tenant_id, invoice_id, line)
);
create index credit_note_line_of on credit_note_line (tenant_id, invoice_id, line);
select isolate('credit_note_line');
revoke insert, update, delete on credit_note_line from hibari_request;
revoke update, delete on credit_note_line from hibari_worker;

-- The database itself keeps what is final, whoever asks.
-- +goose StatementBegin
create function invoice_keep() returns trigger language plpgsql as $$
begin
    if tg_op <> 'INSERT' and old.state = 'final' then
        raise exception 'invoice % is final', old.number using errcode = 'integrity_constraint_violation';
    end if;
    if tg_op = 'DELETE' then
        return old;
    end if;
    if tg_op = 'INSERT' and new.state <> 'draft' then
        raise exception 'an invoice begins as a draft' using errcode = 'integrity_constraint_violation';
    end if;
    if tg_op = 'UPDATE' and (new.tenant_id, new.invoice_id, new.month, new.currency) <> (old.tenant_id, old.invoice_id, old.month, old.currency) then
        raise exception 'invoice % is for another month', old.invoice_id using errcode = 'integrity_constraint_violation';
    end if;
    if new.state = 'final' and new.subtotal <> (
        select coalesce(sum(amount), 0) from invoice_line where tenant_id = new.tenant_id and invoice_id = new.invoice_id) then
        raise exception 'the lines of invoice % have another sum', new.invoice_id using errcode = 'integrity_constraint_violation';
    end if;
    return new;
end $$;
create function invoice_line_keep() returns trigger language plpgsql as $$
declare
    is_state text;
    line invoice_line := case when tg_op = 'DELETE' then old else new end;
begin
    if tg_op = 'UPDATE' then
        raise exception 'lines are not changed but made anew' using errcode = 'integrity_constraint_violation';
    end if;
    -- It waits for who makes the invoice final just now.
    select state into is_state from invoice where tenant_id = line.tenant_id and invoice_id = line.invoice_id for share;
    if is_state = 'final' then
        raise exception 'invoice % is final', line.invoice_id using errcode = 'integrity_constraint_violation';
    end if;
    return line;
end $$;
create function billing_period_keep() returns trigger language plpgsql as $$
begin
    if tg_op = 'UPDATE' and (new.tenant_id, new.month, new.starts_at, new.ends_at, new.time_zone) = (old.tenant_id, old.month, old.starts_at, old.ends_at, old.time_zone) then
        if old.cutoff is null then
            return new;
        end if;
        -- A snapshot may be taken again as long as nothing stands on it.
        if new.cutoff >= old.cutoff
            and not exists (select from invoice where tenant_id = old.tenant_id and month = old.month and state = 'final')
            and not exists (select from billing_period where tenant_id = old.tenant_id and month > old.month and cutoff is not null) then
            return new;
        end if;
    end if;
    raise exception 'the billing period % of % stands', old.month, old.tenant_id using errcode = 'integrity_constraint_violation';
end $$;
-- A number is taken by a document, and none is left out.
create function issuer_keep() returns trigger language plpgsql as $$
begin
    if new.next_invoice <> old.next_invoice and (new.next_invoice <> old.next_invoice + 1
        or not exists (select from invoice where issuer_id = new.issuer_id and sequence = old.next_invoice)) then
        raise exception 'invoice number % is not taken', old.next_invoice using errcode = 'integrity_constraint_violation';
    end if;
    if new.next_credit_note <> old.next_credit_note and (new.next_credit_note <> old.next_credit_note + 1
        or not exists (select from credit_note where issuer_id = new.issuer_id and sequence = old.next_credit_note)) then
        raise exception 'credit note number % is not taken', old.next_credit_note using errcode = 'integrity_constraint_violation';
    end if;
    return null;
end $$;
create function issuer_numbered() returns trigger language plpgsql as $$
begin
    if tg_table_name = 'invoice' then
        if new.state = 'final' and new.sequence <> (select next_invoice - 1 from issuer where issuer_id = new.issuer_id) then
            raise exception 'invoice number % is not the next', new.sequence using errcode = 'integrity_constraint_violation';
        end if;
    elsif new.sequence <> (select next_credit_note - 1 from issuer where issuer_id = new.issuer_id) then
        raise exception 'credit note number % is not the next', new.sequence using errcode = 'integrity_constraint_violation';
    end if;
    return null;
end $$;
-- +goose StatementEnd
create trigger keep before insert or update or delete on invoice for each row execute function invoice_keep();
create trigger keep before insert or update or delete on invoice_line for each row execute function invoice_line_keep();
create trigger keep before update or delete on billing_period for each row execute function billing_period_keep();
create constraint trigger keep after update on issuer deferrable initially deferred for each row execute function issuer_keep();
create trigger numbered after insert or update on invoice for each row execute function issuer_numbered();
create trigger numbered after insert on credit_note for each row execute function issuer_numbered();

-- +goose Down
drop table credit_note_line, credit_note, invoice_line, invoice, billing_period, billing_profile, issuer;
drop function issuer_numbered, issuer_keep, billing_period_keep, invoice_line_keep, invoice_keep;
