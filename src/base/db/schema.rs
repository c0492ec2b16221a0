//! Diesel tables, one description for both backends; kept equal to `migrations/` by the parity test.

diesel::table! {
    organizations (id) {
        id -> Text,
        kind -> Text,
        slug -> Text,
        name_zh -> Text,
        name_en -> Text,
        created_at -> Timestamp,
        resembles -> Nullable<Text>,
        suspended_at -> Nullable<Timestamp>,
        suspended_reason -> Nullable<Text>,
        alarm_pictures -> Text,
    }
}

diesel::table! {
    organization_names (look) {
        look -> Text,
        gist -> Text,
        organization_id -> Text,
    }
}

diesel::table! {
    users (id) {
        id -> Text,
        email -> Text,
        name -> Text,
        password_hash -> Text,
        disabled_at -> Nullable<Timestamp>,
        created_at -> Timestamp,
        email_verified_at -> Nullable<Timestamp>,
        disabled_reason -> Nullable<Text>,
    }
}

diesel::table! {
    memberships (organization_id, user_id) {
        organization_id -> Text,
        user_id -> Text,
        role -> Text,
        created_at -> Timestamp,
    }
}

diesel::table! {
    invitations (id) {
        id -> Text,
        organization_id -> Text,
        email -> Text,
        role -> Text,
        token_hash -> Text,
        invited_by -> Text,
        created_at -> Timestamp,
        expires_at -> Timestamp,
        accepted_at -> Nullable<Timestamp>,
        revoked_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    sessions (token_hash) {
        token_hash -> Text,
        user_id -> Text,
        organization_id -> Text,
        csrf_token -> Text,
        address -> Text,
        user_agent -> Text,
        created_at -> Timestamp,
        seen_at -> Timestamp,
        expires_at -> Timestamp,
        revoked_at -> Nullable<Timestamp>,
        device_hash -> Nullable<Text>,
    }
}

diesel::table! {
    api_tokens (id) {
        id -> Text,
        organization_id -> Text,
        user_id -> Text,
        name -> Text,
        token_hash -> Text,
        scopes -> Text,
        created_at -> Timestamp,
        expires_at -> Timestamp,
        used_at -> Nullable<Timestamp>,
        revoked_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    throttles (subject) {
        subject -> Text,
        failures -> BigInt,
        window_started_at -> Timestamp,
    }
}

diesel::table! {
    specialties (slug) {
        slug -> Text,
        position -> BigInt,
        name_zh -> Text,
        name_en -> Text,
    }
}

diesel::table! {
    scenarios (slug) {
        slug -> Text,
        specialty -> Text,
        position -> BigInt,
        name_zh -> Text,
        name_en -> Text,
    }
}

diesel::table! {
    apps (id) {
        id -> Text,
        organization_id -> Text,
        slug -> Text,
        title_zh -> Text,
        title_en -> Text,
        summary_zh -> Text,
        summary_en -> Text,
        specialty -> Text,
        scenario -> Text,
        input -> Text,
        safety -> Bool,
        state -> Text,
        release_id -> Nullable<Text>,
        cover_digest -> Nullable<Text>,
        deployments -> BigInt,
        listed_at -> Nullable<Timestamp>,
        created_at -> Timestamp,
        updated_at -> Timestamp,
        suspended_reason -> Nullable<Text>,
        suspended_from -> Nullable<Text>,
    }
}

diesel::table! {
    plans (id) {
        id -> Text,
        app_id -> Text,
        kind -> Text,
        price_fen -> BigInt,
        trial_days -> BigInt,
        trial_nodes -> BigInt,
        active -> Bool,
        created_at -> Timestamp,
    }
}

diesel::table! {
    repositories (id) {
        id -> Text,
        name -> Text,
        organization_id -> Text,
        created_at -> Timestamp,
    }
}

diesel::table! {
    blobs (digest) {
        digest -> Text,
        size_bytes -> BigInt,
        created_at -> Timestamp,
        touched_at -> Timestamp,
    }
}

diesel::table! {
    repository_blobs (repository_id, digest) {
        repository_id -> Text,
        digest -> Text,
        created_at -> Timestamp,
    }
}

diesel::table! {
    manifests (repository_id, digest) {
        repository_id -> Text,
        digest -> Text,
        media_type -> Text,
        artifact_type -> Nullable<Text>,
        subject -> Nullable<Text>,
        annotations -> Nullable<Text>,
        content -> Binary,
        created_at -> Timestamp,
        visibility -> Text,
        linked -> Bool,
    }
}

diesel::table! {
    manifest_blobs (repository_id, digest, manifest) {
        repository_id -> Text,
        digest -> Text,
        manifest -> Text,
    }
}

diesel::table! {
    blob_pins (digest, holder) {
        digest -> Text,
        holder -> Text,
    }
}

diesel::table! {
    tags (repository_id, name) {
        repository_id -> Text,
        name -> Text,
        digest -> Text,
        updated_at -> Timestamp,
    }
}

diesel::table! {
    retired_tags (repository_id, name) {
        repository_id -> Text,
        name -> Text,
        digest -> Text,
    }
}

diesel::table! {
    uploads (id) {
        id -> Text,
        repository_id -> Text,
        user_id -> Text,
        offset_bytes -> BigInt,
        created_at -> Timestamp,
        expires_at -> Timestamp,
    }
}

diesel::table! {
    releases (id) {
        id -> Text,
        app_id -> Text,
        version -> Text,
        digest -> Text,
        manifest -> Text,
        size_bytes -> BigInt,
        state -> Text,
        created_by -> Text,
        created_at -> Timestamp,
        updated_at -> Timestamp,
        published_at -> Nullable<Timestamp>,
        channel -> Text,
        deprecation -> Nullable<Text>,
        recall -> Nullable<Text>,
        measured -> Nullable<Text>,
    }
}

diesel::table! {
    check_reports (id) {
        id -> Text,
        release_id -> Text,
        digest -> Text,
        passed -> Bool,
        report -> Text,
        created_at -> Timestamp,
    }
}

diesel::table! {
    measurements (id) {
        id -> Text,
        release_id -> Text,
        card -> Text,
        measured_at -> Timestamp,
    }
}

diesel::table! {
    cases (id) {
        id -> Text,
        release_id -> Text,
        app_id -> Text,
        organization_id -> Text,
        state -> Text,
        reason -> Text,
        opened_by -> Text,
        opened_at -> Timestamp,
        decided_by -> Nullable<Text>,
        decided_at -> Nullable<Timestamp>,
        flags -> Text,
    }
}

diesel::table! {
    orders (id) {
        id -> Text,
        number -> Text,
        organization_id -> Text,
        vendor_id -> Text,
        app_id -> Text,
        plan_id -> Text,
        plan_kind -> Text,
        unit_price_fen -> BigInt,
        trial_days -> BigInt,
        nodes -> BigInt,
        amount_fen -> BigInt,
        reference -> Text,
        state -> Text,
        placed_by -> Text,
        placed_at -> Timestamp,
        updated_at -> Timestamp,
    }
}

diesel::table! {
    payments (id) {
        id -> Text,
        order_id -> Text,
        amount_fen -> BigInt,
        bank_serial -> Text,
        payer -> Text,
        matched -> Bool,
        confirmed_by -> Text,
        confirmed_at -> Timestamp,
    }
}

diesel::table! {
    licenses (id) {
        id -> Text,
        order_id -> Text,
        organization_id -> Text,
        vendor_id -> Text,
        app_id -> Text,
        plan_kind -> Text,
        versions -> Text,
        node_limit -> BigInt,
        nodes_active -> BigInt,
        starts_at -> Timestamp,
        ends_at -> Nullable<Timestamp>,
        grace_days -> BigInt,
        enforcement -> Text,
        safety -> Bool,
        state -> Text,
        created_at -> Timestamp,
        updated_at -> Timestamp,
    }
}

diesel::table! {
    sites (id) {
        id -> Text,
        organization_id -> Text,
        name -> Text,
        created_at -> Timestamp,
    }
}

diesel::table! {
    nodes (id) {
        id -> Text,
        organization_id -> Text,
        site_id -> Text,
        name -> Text,
        state -> Text,
        code_hash -> Nullable<Text>,
        code_expires_at -> Nullable<Timestamp>,
        code_used_at -> Nullable<Timestamp>,
        certificate_serial -> Nullable<Text>,
        certificate_previous_serial -> Nullable<Text>,
        certificate_expires_at -> Nullable<Timestamp>,
        capabilities -> Nullable<Text>,
        agent_version -> Nullable<Text>,
        seen_at -> Nullable<Timestamp>,
        manifest_version -> BigInt,
        manifest_digest -> Nullable<Text>,
        created_at -> Timestamp,
        trouble -> Nullable<Text>,
        instance -> Nullable<Text>,
        instance_before -> Nullable<Text>,
        doubled_at -> Nullable<Timestamp>,
        alarms_dropped -> BigInt,
        alarms_suppressed -> BigInt,
    }
}

diesel::table! {
    activations (id) {
        id -> Text,
        license_id -> Text,
        node_id -> Text,
        activated_by -> Text,
        activated_at -> Timestamp,
    }
}

diesel::table! {
    node_documents (node_id, digest) {
        node_id -> Text,
        digest -> Text,
        kind -> Text,
        content -> Binary,
        created_at -> Timestamp,
    }
}

diesel::table! {
    deployments (id) {
        id -> Text,
        organization_id -> Text,
        node_id -> Text,
        app_id -> Text,
        release_id -> Text,
        license_id -> Text,
        parameters -> Text,
        wanted -> Bool,
        digest -> Text,
        target_version -> BigInt,
        adopted_version -> BigInt,
        state -> Text,
        error -> Nullable<Text>,
        created_by -> Text,
        created_at -> Timestamp,
        updated_at -> Timestamp,
    }
}

diesel::table! {
    deployment_events (id) {
        id -> Text,
        deployment_id -> Text,
        state -> Text,
        version -> Text,
        error -> Nullable<Text>,
        at -> Timestamp,
        note -> Nullable<Text>,
        made_by -> Nullable<Text>,
    }
}

diesel::table! {
    node_samples (node_id, at) {
        node_id -> Text,
        at -> Timestamp,
        cpu_percent -> Double,
        memory_used_bytes -> BigInt,
        memory_total_bytes -> BigInt,
    }
}

diesel::table! {
    app_samples (deployment_id, at) {
        deployment_id -> Text,
        at -> Timestamp,
        inferences -> BigInt,
        errors -> BigInt,
        p50_ms -> Double,
        p95_ms -> Double,
        memory_bytes -> BigInt,
        restarts -> BigInt,
    }
}

diesel::table! {
    proofs (deployment_id, release_id) {
        deployment_id -> Text,
        release_id -> Text,
        proven_at -> Timestamp,
    }
}

diesel::table! {
    alarms (id) {
        id -> Text,
        organization_id -> Text,
        node_id -> Text,
        deployment_id -> Text,
        release_digest -> Text,
        rule -> Text,
        level -> Text,
        text_zh -> Text,
        text_en -> Text,
        result -> Text,
        report_hash -> Text,
        raised_at -> Timestamp,
        received_at -> Timestamp,
        episode -> Nullable<Text>,
        source -> Text,
        last_at -> Timestamp,
        ended_at -> Nullable<Timestamp>,
        count -> BigInt,
        late -> Bool,
        node_at -> Nullable<Timestamp>,
        origin -> Text,
        answer -> Text,
    }
}

diesel::table! {
    audit_heads (chain) {
        chain -> Text,
        sequence -> BigInt,
        hash -> Text,
        base_sequence -> BigInt,
        base_hash -> Text,
    }
}

diesel::table! {
    audit_seals (number) {
        number -> BigInt,
        at -> Timestamp,
        root -> Text,
        previous -> Text,
        signed_from -> BigInt,
        kid -> Text,
        signature -> Text,
    }
}

diesel::table! {
    audit_seal_leaves (chain, sequence) {
        chain -> Text,
        sequence -> BigInt,
        hash -> Text,
        number -> BigInt,
    }
}

diesel::table! {
    counters (name) {
        name -> Text,
        value -> BigInt,
    }
}

diesel::table! {
    audit_records (chain, sequence) {
        chain -> Text,
        sequence -> BigInt,
        at -> Timestamp,
        actor -> Text,
        organization_id -> Nullable<Text>,
        action -> Text,
        subject -> Text,
        detail -> Text,
        previous_hash -> Text,
        hash -> Text,
    }
}

diesel::table! {
    vendor_keys (id) {
        id -> Text,
        organization_id -> Text,
        name -> Text,
        kid -> Text,
        public_key -> Text,
        created_by -> Text,
        created_at -> Timestamp,
        revoked_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    storage_quotas (organization_id) {
        organization_id -> Text,
        limit_bytes -> BigInt,
    }
}

diesel::table! {
    evaluation_sets (id) {
        id -> Text,
        scenario -> Text,
        name_zh -> Text,
        name_en -> Text,
        metric -> Text,
        input -> Text,
        unit -> Text,
        samples -> BigInt,
        digest -> Text,
        size_bytes -> BigInt,
        created_by -> Text,
        created_at -> Timestamp,
        retired_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    evaluation_scores (release_id, set_id) {
        release_id -> Text,
        set_id -> Text,
        digest -> Text,
        value -> Nullable<Double>,
        samples -> BigInt,
        failures -> BigInt,
        reason -> Nullable<Text>,
        engine -> Text,
        hardware -> Text,
        scored_at -> Timestamp,
    }
}

diesel::table! {
    key_pins (name) {
        name -> Text,
        fingerprint -> Text,
    }
}

diesel::table! {
    rates (subject) {
        subject -> Text,
        full_at -> Timestamp,
    }
}

diesel::table! {
    jobs (id) {
        id -> Text,
        kind -> Text,
        payload -> Text,
        state -> Text,
        attempts -> BigInt,
        run_at -> Timestamp,
        lease_until -> Nullable<Timestamp>,
        last_error -> Nullable<Text>,
        created_at -> Timestamp,
        organization_id -> Nullable<Text>,
    }
}

diesel::table! {
    job_turns (organization_id) {
        organization_id -> Text,
        served_at -> Timestamp,
    }
}

diesel::table! {
    one_time_links (id) {
        id -> Text,
        purpose -> Text,
        user_id -> Text,
        email -> Text,
        token_hash -> Text,
        created_at -> Timestamp,
        expires_at -> Timestamp,
        used_at -> Nullable<Timestamp>,
        revoked_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    scenario_follows (user_id, scenario) {
        user_id -> Text,
        scenario -> Text,
        language -> Text,
        created_at -> Timestamp,
    }
}

diesel::table! {
    messages (id) {
        id -> Text,
        kind -> Text,
        language -> Text,
        user_id -> Text,
        address -> Text,
        organization_id -> Nullable<Text>,
        subject -> Text,
        body -> Text,
        mail -> Nullable<Text>,
        state -> Text,
        last_error -> Nullable<Text>,
        created_at -> Timestamp,
        sent_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    webhooks (id) {
        id -> Text,
        organization_id -> Text,
        url -> Text,
        kinds -> Text,
        secret -> Text,
        previous_secret -> Nullable<Text>,
        previous_until -> Nullable<Timestamp>,
        state -> Text,
        failing_since -> Nullable<Timestamp>,
        lost -> BigInt,
        created_by -> Text,
        created_at -> Timestamp,
        removed_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    webhook_deliveries (id) {
        id -> Text,
        webhook_id -> Text,
        organization_id -> Text,
        message_id -> Text,
        kind -> Text,
        body -> Text,
        state -> Text,
        tries -> BigInt,
        due_at -> Timestamp,
        created_at -> Timestamp,
        urgency -> BigInt,
    }
}

diesel::table! {
    webhook_attempts (id) {
        id -> Text,
        delivery_id -> Text,
        at -> Timestamp,
        millis -> BigInt,
        status -> Nullable<BigInt>,
        fault -> Nullable<Text>,
        answer -> Text,
    }
}

diesel::table! {
    kept_answers (organization_id, user_id, idempotency_key) {
        user_id -> Text,
        idempotency_key -> Text,
        organization_id -> Text,
        request_hash -> Text,
        status -> BigInt,
        body -> Text,
        created_at -> Timestamp,
    }
}

diesel::table! {
    drafts (id) {
        id -> Text,
        organization_id -> Text,
        state -> Text,
        revision -> BigInt,
        files -> Text,
        facts -> Text,
        form -> Text,
        reading -> Text,
        results -> Text,
        created_by -> Text,
        created_at -> Timestamp,
        expires_at -> Timestamp,
    }
}

diesel::table! {
    streams (node_id, stream) {
        node_id -> Text,
        stream -> Text,
        kind -> Text,
        last_seq -> BigInt,
        head -> Text,
        gaps -> Text,
        lost -> BigInt,
        first_seen -> Timestamp,
        last_at -> Timestamp,
    }
}

diesel::table! {
    usage_counters (node_id, deployment_id, meter, epoch) {
        node_id -> Text,
        deployment_id -> Text,
        meter -> Text,
        epoch -> Text,
        count -> BigInt,
        at -> Timestamp,
    }
}

diesel::table! {
    alarm_responses (alarm_id) {
        alarm_id -> Text,
        organization_id -> Text,
        acknowledged_by -> Text,
        acknowledged_at -> Timestamp,
        verdict -> Nullable<Text>,
    }
}

diesel::table! {
    alarm_suppressions (id) {
        id -> Text,
        organization_id -> Text,
        subject -> Text,
        rule -> Text,
        kind -> Text,
        reason -> Text,
        made_by -> Text,
        made_at -> Timestamp,
        ends_at -> Nullable<Timestamp>,
        ended_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    alarm_acts (id) {
        id -> Text,
        organization_id -> Text,
        alarm_id -> Text,
        kind -> Text,
        verdict -> Nullable<Text>,
        note -> Text,
        ends_at -> Nullable<Timestamp>,
        user_id -> Text,
        made_by -> Text,
        at -> Timestamp,
    }
}

diesel::table! {
    equipment_alarms (id) {
        id -> Text,
        organization_id -> Text,
        kind -> Text,
        subject -> Text,
        level -> Text,
        began_at -> Timestamp,
        ended_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    alarm_pictures (alarm_id) {
        alarm_id -> Text,
        organization_id -> Text,
        node_id -> Text,
        episode -> Text,
        width -> BigInt,
        height -> BigInt,
        privacy -> Text,
        small -> Binary,
        whole -> Nullable<Binary>,
        asked_by -> Nullable<Text>,
        asked_at -> Nullable<Timestamp>,
        gone_at -> Nullable<Timestamp>,
        received_at -> Timestamp,
    }
}

diesel::table! {
    node_sources (node_id, source_id) {
        node_id -> Text,
        source_id -> Text,
        name -> Text,
        kind -> Text,
        state -> Text,
        code -> Nullable<Text>,
        troubles -> Text,
        width -> Nullable<BigInt>,
        height -> Nullable<BigInt>,
        rate -> Double,
        apps -> Text,
        since -> Timestamp,
        lost_since -> Nullable<Timestamp>,
    }
}

diesel::allow_tables_to_appear_in_same_query!(
    organizations,
    organization_names,
    users,
    memberships,
    invitations,
    sessions,
    api_tokens,
    throttles,
    specialties,
    scenarios,
    scenario_follows,
    apps,
    plans,
    repositories,
    blobs,
    repository_blobs,
    manifests,
    manifest_blobs,
    blob_pins,
    tags,
    retired_tags,
    uploads,
    releases,
    check_reports,
    measurements,
    cases,
    orders,
    payments,
    licenses,
    sites,
    nodes,
    activations,
    node_documents,
    deployments,
    deployment_events,
    node_samples,
    app_samples,
    proofs,
    alarms,
    audit_records,
    audit_heads,
    audit_seals,
    audit_seal_leaves,
    counters,
    vendor_keys,
    storage_quotas,
    evaluation_sets,
    evaluation_scores,
    key_pins,
    rates,
    jobs,
    job_turns,
    one_time_links,
    messages,
    webhooks,
    webhook_deliveries,
    webhook_attempts,
    kept_answers,
    drafts,
    streams,
    usage_counters,
    alarm_responses,
    alarm_suppressions,
    alarm_acts,
    equipment_alarms,
    alarm_pictures,
    node_sources,
);
