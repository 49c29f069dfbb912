//! `change_stage`: moves the dialogue's lead on, by the names that people have given the stages.

use async_trait::async_trait;
use domain::{
    crm::{LeadPatch, Pipeline, Stage, StageKind},
    engine::ToolSpec,
};
use serde_json::{Value, json};

use super::{
    Cx, Tool,
    crm::{Matter, refused, told},
};

const NAME: &str = "change_stage";

pub(super) struct ChangeStage;

#[async_trait]
impl Tool for ChangeStage {
    fn spec(&self) -> ToolSpec {
        let name =
            |what: &str| json!({ "type": "string", "minLength": 1, "maxLength": 250, "description": what });
        ToolSpec {
            name: NAME.to_owned(),
            description: "Moves this customer's lead in the CRM to another stage.".to_owned(),
            parameters: json!({
                "type": "object",
                "properties": {
                    "stage": name("The stage's name, or its id."),
                    "pipeline": name("The name or id of another pipeline to move the lead to. Left out: it stays in its own.")
                },
                "required": ["stage"],
                "additionalProperties": false
            }),
        }
    }

    /// Done again it does no harm.
    async fn call(&self, cx: &Cx<'_>) -> Result<Value, Value> {
        let matter = Matter::of(cx).await?;
        let Some(id) = matter.lead_id else { return Err(refused("the CRM knows no lead of this dialogue")) };
        let office = matter.office;
        let lead = office.call(|crm, at| {
            let id = id.clone();
            async move { crm.lead(&at, &id).await }
        });
        let lead = lead.await.map_err(|error| told(&error))?;
        let wanted = |pipelines: &[Pipeline]| {
            let pipeline = cx.arguments["pipeline"].as_str();
            let stage = cx.arguments["stage"].as_str().unwrap_or_default();
            find(pipelines, pipeline.unwrap_or(&lead.pipeline_id), stage)
        };
        let mut found = wanted(&office.pipelines(false).await.map_err(|error| told(&error))?.items);
        if found.is_err() {
            // Somebody may have changed the pipelines since they were read.
            found = wanted(&office.pipelines(true).await.map_err(|error| told(&error))?.items);
        }
        let (pipeline_id, stage_id) = found.map_err(|bad| refused(&bad))?;
        if (&lead.pipeline_id, &lead.stage_id) != (&pipeline_id, &stage_id) {
            let (pipeline_id, stage_id) = (Some(pipeline_id), Some(stage_id));
            let patch = LeadPatch { pipeline_id, stage_id, ..LeadPatch::default() };
            office.update_lead(id, patch).await.map_err(|error| told(&error))?;
        }
        Ok(json!({ "ok": true }))
    }
}

/// Finds a stage by names or ids. The error says what there is.
fn find(pipelines: &[Pipeline], pipeline: &str, stage: &str) -> Result<(String, String), String> {
    let is = |id: &str, name: &str, wanted: &str| {
        id == wanted || name.trim().to_lowercase() == wanted.trim().to_lowercase()
    };
    let list = |names: Vec<&str>| names.join(", ");
    let known: Vec<_> = pipelines.iter().filter(|known| !known.archived).collect();
    let found = known.iter().find(|known| is(&known.id, &known.name, pipeline)).ok_or_else(|| {
        let names = known.iter().map(|known| known.name.as_str()).collect();
        format!("there is no pipeline {pipeline}; there are: {}", list(names))
    })?;
    // Into what nobody has accepted yet no lead is moved back.
    let open = |stage: &&Stage| stage.kind != StageKind::Incoming;
    let to = found.stages.iter().filter(open).find(|known| is(&known.id, &known.name, stage));
    to.map(|to| (found.id.clone(), to.id.clone())).ok_or_else(|| {
        let names = found.stages.iter().filter(open).map(|known| known.name.as_str()).collect();
        format!("{} has no stage {stage}; it has: {}", found.name, list(names))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_found_by_name_or_id_and_else_told() {
        let stage = |id: &str, name: &str, kind| Stage {
            id: id.to_owned(),
            name: name.to_owned(),
            sort: 0,
            color: String::new(),
            kind,
        };
        let pipeline = |id: &str, name: &str, archived| Pipeline {
            id: id.to_owned(),
            name: name.to_owned(),
            sort: 0,
            main: false,
            archived,
            stages: vec![
                stage("1", "Incoming", StageKind::Incoming),
                stage("2", "Новая", StageKind::Ordinary),
                stage("142", "Won", StageKind::Won),
            ],
        };
        let all = [pipeline("7", "Sales", false), pipeline("8", "Old", true)];
        let ids = |pipeline: &str, stage: &str| (pipeline.to_owned(), stage.to_owned());
        assert_eq!(find(&all, "7", "won "), Ok(ids("7", "142")));
        assert_eq!(find(&all, "sales", "НОВАЯ"), Ok(ids("7", "2")));
        assert_eq!(find(&all, "7", "142"), Ok(ids("7", "142")));
        assert_eq!(
            find(&all, "7", "Incoming").unwrap_err(),
            "Sales has no stage Incoming; it has: Новая, Won"
        );
        assert_eq!(find(&all, "Old", "Won").unwrap_err(), "there is no pipeline Old; there are: Sales");
    }
}
